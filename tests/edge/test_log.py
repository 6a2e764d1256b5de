"""The log: whatever becomes of what it is written to, speech goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from io import StringIO
from typing import Any

import httpx

from loadtests import leash
from server.logs import LineWriter
from tests.edge.conftest import UNHURRIED, free_port
from tests.edge.test_engine_kills import engine_pids


class Disk(StringIO):
    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def written(disk: Disk) -> str:
    deadline_s = time.monotonic() + 10
    while not disk.getvalue() and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return disk.getvalue()


def test_a_full_disk_loses_lines_and_says_so_later() -> None:
    disk = Disk()
    log = LineWriter(disk)
    for _ in range(3):
        log.error("lost")
    while log.lost < 3:
        time.sleep(0.001)
    disk.is_full = False
    log.info("here")
    log.close(10)
    assert written(disk) == "here\n3 lines before this one were lost\n"


def test_a_reader_that_reads_nothing_holds_up_nobody() -> None:
    ours, theirs = os.pipe()
    file = os.fdopen(theirs, "w")
    log = LineWriter(file)
    for _ in range(20_000):
        log.info("x" * 100)
    log.close(0.1)
    assert log.lost > 0
    os.close(ours)  # ends the thread's write


def test_without_a_place_nothing_is_written() -> None:
    log = LineWriter(None)
    log.info("nowhere")
    log.close(10)
    assert log.lost == 0


def test_a_server_without_a_log_speaks_restarts_its_engine_and_drains() -> None:
    port = free_port()
    settings = {f"PARLANDO_{name.upper()}": value for name, value in UNHURRIED.items()}
    command = [sys.executable, "-m", "server", "serve", "--port", str(port)]
    with open("/dev/full", "w") as full, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        server: subprocess.Popen[Any] = leash.start(command, env=os.environ | settings, stderr=full)
        try:
            for _ in range(2):
                await_ready(client)
                answer = client.post("/v1/audio/speech", json={"input": "Good day.", "response_format": "pcm"})
                assert (answer.status_code, len(answer.content) > 10_000) == (200, True)
                os.kill(engine_pids(server.pid)[0], signal.SIGKILL)
                await_ready(client, False)
            await_ready(client)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            server.kill()


def await_ready(client: httpx.Client, ready: bool = True) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        try:
            if (client.get("/ready").status_code == 200) is ready:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.005)
    raise AssertionError(f"/ready did not become {ready}")
