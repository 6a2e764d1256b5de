"""A real server process on a free port of the loopback, for all edge tests of a session."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from loadtests import leash


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_idle(client: httpx.Client, within_s: float = 10.0) -> None:
    """Until no utterance is in progress."""
    deadline_s = time.monotonic() + within_s
    while "tts_streams_active 0.0" not in client.get("/metrics").text:
        assert time.monotonic() < deadline_s, "an utterance that nobody hears goes on"


# How busy the machine is must not decide a test: nothing is refused for want of speed, and an engine stands behind no
# other work. Beside other tests one at the usual nice value was silent for 5 s and taken for dead.
UNHURRIED = {"shed": "false", "engine_silence_s": "30", "engine_nice": "0"}


class RunningServer:
    def __init__(self, *, port: int | None = None, **environment: str) -> None:
        """With `UNHURRIED` where nothing else is asked for."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}/v1/audio/speech/ws"
        settings = {f"PARLANDO_{name.upper()}": value for name, value in (UNHURRIED | environment).items()}
        command = [sys.executable, "-m", "server", "serve", "--port", str(self.port)]
        self.process = leash.start(command, env=os.environ | settings, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []  # of its log, so far
        self._readies: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._read_log, daemon=True).start()
        self.await_ready()

    def _read_log(self) -> None:
        """To its end: a pipe that fills stops the server."""
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                if '"event": "ready"' in line:
                    self._readies.put(True)
        self._readies.put(False)

    def await_ready(self) -> None:
        """The server has logged it once more."""
        assert self._readies.get(timeout=60), "the server ended before it was ready"

    def await_event(self, name: str) -> None:
        """It has logged that event."""
        deadline_s = time.monotonic() + 60
        while not any(f'"event": "{name}"' in line for line in list(self.lines)):
            assert time.monotonic() < deadline_s, f"the log tells of no {name!r}"
            time.sleep(0.01)

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *error: object) -> None:
        """Whatever happened, nothing is left running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status: int = self.process.wait(timeout=30)
        return status


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    running = RunningServer()
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as one:
        yield one
