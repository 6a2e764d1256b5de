"""The engine's sleep: it ends with whatever comes first, also what came just before it began."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from engines.bell import Bell

LONG_S = 60.0  # of a wait that must end before


@pytest.mark.parametrize("with_file", [False, True])
def test_a_ring_before_the_wait_or_in_it_ends_it(with_file: bool) -> None:
    ours, theirs = socket.socketpair()
    bell, files = Bell(), [ours] if with_file else []
    with ours, theirs:
        bell.ring()
        bell.wait(LONG_S, *files)
        for _ in range(200):  # whatever the two threads' order
            bell.clear()
            ringer = threading.Thread(target=bell.ring)
            ringer.start()
            bell.wait(LONG_S, *files)
            assert bell.rung
            ringer.join()
    bell.close()


def test_what_can_be_read_ends_the_wait_and_stays_there() -> None:
    ours, theirs = socket.socketpair()
    bell = Bell()
    with ours, theirs:
        theirs.send(b"x")
        for _ in range(2):
            bell.wait(LONG_S, ours)
        assert not bell.rung
        assert ours.recv(9) == b"x"
        theirs.close()
        bell.wait(LONG_S, ours)  # its end too
    bell.close()


def test_old_rings_do_not_end_a_new_wait() -> None:
    ours, theirs = socket.socketpair()
    bell = Bell()
    with ours, theirs:
        bell.wait(0, ours)
        for _ in range(3):
            ringers = [threading.Thread(target=bell.ring) for _ in range(5)]
            for ringer in ringers:
                ringer.start()
            bell.wait(LONG_S, ours)
            for ringer in ringers:
                ringer.join()
            bell.clear()
        bell.wait(0, ours)  # takes what a late ring may have left
        began_s = time.monotonic()
        bell.wait(0.05, ours)
        assert time.monotonic() - began_s > 0.04
    bell.close()


def test_it_closes_what_it_opened() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
        bell = Bell()
        bell.wait(0, ours)
        bell.close()
        bell.ring()
        after = set(os.listdir("/proc/self/fd")) if before else set()
    assert before == after
