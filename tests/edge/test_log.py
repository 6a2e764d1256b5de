"""The log: whatever becomes of what it is written to, speech goes on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from loadtests import leash
from server.logs import Foreign, LineWriter
from tests.edge.conftest import UNHURRIED, free_port
from tests.edge.test_engine_kills import engine_pids


def test_a_full_disk_loses_lines_and_says_so_later() -> None:
    full, (ours, theirs) = os.open("/dev/full", os.O_WRONLY), os.pipe()
    log = LineWriter(full)
    for _ in range(3):
        log.error("lost")
    while log.lost < 3:
        time.sleep(0.001)
    os.dup2(theirs, full)  # there is room again
    log.info("here")
    log.close(10)
    assert os.read(ours, 1_000) == b'{"event": "log_lines_lost", "lines": 3, "level": "warning"}\nhere\n'
    for one in (full, ours, theirs):
        os.close(one)


def test_a_reader_that_reads_nothing_holds_up_no_call() -> None:
    ours, theirs = os.pipe()
    log = LineWriter(theirs)
    for _ in range(20_000):
        log.info("x" * 100)
    log.close(0.1)
    assert log.lost > 0
    os.close(ours)  # ends the thread's write


def test_a_librarys_bad_call_is_the_logs_trouble_alone(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("library", logging.ERROR, "file", 1, "%d", ("many",), None)
    Foreign().emit(record)
    assert "TypeError" in capsys.readouterr().err


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
