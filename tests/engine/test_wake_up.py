"""The engine's sleep: it ends with whatever comes first, also what came just before it began."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import threading
import time

import pytest

from engines.runtime.wake_up import WakeUp, polling

LONG_S = 60.0  # of a wait that must end before


@pytest.mark.parametrize("with_file", [False, True])
def test_a_notification_before_the_wait_or_in_it_ends_it(with_file: bool) -> None:
    ours, theirs = socket.socketpair()
    wake_up, files = WakeUp(), [ours] if with_file else []
    with ours, theirs:
        wake_up.notify()
        wake_up.wait(LONG_S, *files)
        for _ in range(200):  # whatever the two threads' order
            wake_up.clear()
            notifier = threading.Thread(target=wake_up.notify)
            notifier.start()
            wake_up.wait(LONG_S, *files)
            assert wake_up.is_set
            notifier.join()
    wake_up.close()


def test_what_can_be_read_ends_the_wait_and_stays_there() -> None:
    ours, theirs = socket.socketpair()
    wake_up = WakeUp()
    with ours, theirs:
        theirs.send(b"x")
        for _ in range(2):
            wake_up.wait(LONG_S, ours)
        assert not wake_up.is_set
        assert ours.recv(9) == b"x"
        theirs.close()
        wake_up.wait(LONG_S, ours)  # its end too
    wake_up.close()


def test_old_notifications_do_not_end_a_new_wait() -> None:
    ours, theirs = socket.socketpair()
    wake_up = WakeUp()
    with ours, theirs:
        wake_up.wait(0, ours)
        for _ in range(3):
            notifiers = [threading.Thread(target=wake_up.notify) for _ in range(5)]
            for notifier in notifiers:
                notifier.start()
            wake_up.wait(LONG_S, ours)
            for notifier in notifiers:
                notifier.join()
            wake_up.clear()
        wake_up.wait(0, ours)  # takes what a late notification may have left
        began_s = time.monotonic()
        wake_up.wait(0.05, ours)
        assert time.monotonic() - began_s > 0.04
    wake_up.close()


def test_it_closes_what_it_opened() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
        wake_up = WakeUp()
        wake_up.wait(0, ours)
        wake_up.close()
        wake_up.notify()
        after = set(os.listdir("/proc/self/fd")) if before else set()
    assert before == after


def test_files_of_any_number_are_polled() -> None:
    """A server with a thousand sockets gives numbers that `select` does not know."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2_000)), hard))
    ours, theirs = socket.socketpair()
    high = fcntl.fcntl(ours, fcntl.F_DUPFD, 1_500)
    try:
        assert not polling(high).poll(0)
        theirs.send(b".")
        assert polling(high).poll(0)
    finally:
        os.close(high)
        ours.close()
        theirs.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
