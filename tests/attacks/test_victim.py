"""The listener beside the attacks sees what it is there to see."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.attacks.victim import Victim, spared
from tests.edge.conftest import RunningServer
from tests.edge.test_faults import engine_pid


def test_alone_it_never_runs_dry(victim: Victim) -> None:
    while victim.audio_s < 6:
        time.sleep(0.05)


def test_a_server_that_stands_still_is_seen(server: RunningServer) -> None:
    engine = engine_pid(server)
    with pytest.raises(AssertionError, match="dry for"), spared(server):
        os.kill(engine, signal.SIGSTOP)
        time.sleep(3)
        os.kill(engine, signal.SIGCONT)
