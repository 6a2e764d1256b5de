"""What is started ends with its starter, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from loadtests import leash
from server.engine import worker as engine_worker
from tests.edge.conftest import RunningServer

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0  # a busy machine is slow
SAYS_ITS_NUMBER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SAYS_ITS_NUMBER
STARTER = """
import subprocess, sys
from loadtests import leash
one = leash.start([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(one.stdout.readline(), end="", flush=True)
one.wait()
"""


def ended(*processes: psutil.Process) -> bool:
    _, alive = psutil.wait_procs(list(processes), timeout=WITHIN_S)
    return not alive


def until(condition: Callable[[], bool]) -> None:
    gives_up_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < gives_up_s
        time.sleep(0.02)


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def command_line(process: psutil.Process) -> str:
    """Empty for one that has just ended: a load test starts short-lived ones, too."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # of which a zombie is one
        return ""


def has_started(pid: int, program: str) -> bool:
    return any(program in command_line(one) for one in descendants(pid))


@pytest.mark.parametrize("program", [SAYS_ITS_NUMBER, STUBBORN])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_ends_with_a_killed_starter(number: signal.Signals, program: str) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with starter:
        assert starter.stdout is not None
        command = psutil.Process(int(starter.stdout.readline()))
        guarded = [command, *command.children()]
        assert len(guarded) == 2
        starter.send_signal(number)
    assert ended(*guarded)


def test_status_and_signals_are_the_commands_own() -> None:
    done = leash.start(["sh", "-c", "exit 7"])
    killed = leash.start([sys.executable, "-c", SAYS_ITS_NUMBER], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert int(killed.stdout.readline()) == killed.pid
    guard = descendants(killed.pid)
    killed.terminate()
    assert (done.wait(WITHIN_S), killed.wait(WITHIN_S)) == (7, -signal.SIGTERM)
    assert killed.stdout.read() == "", "the guard holds what the command wrote to"
    assert ended(*guard)
    killed.stdout.close()
    missing = leash.start(["/no/such/command"], stderr=subprocess.PIPE, text=True)
    assert missing.stderr is not None
    assert missing.wait(WITHIN_S) == 1
    assert missing.stderr.read() == "/no/such/command: No such file or directory\n"
    missing.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_load_test_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    """Neither its server nor the process that makes the load."""
    command = [sys.executable, "-m", "loadtests", "--level", "2", "--out", str(tmp_path), "--raw", str(tmp_path)]
    toy = f"{sys.executable} -m tests.load.toy_server --port {{port}}"
    with subprocess.Popen([*command, "--server-command", toy], cwd=ROOT, stdout=subprocess.DEVNULL) as bench:
        try:
            until(lambda: has_started(bench.pid, "spawn_main"))
            left = descendants(bench.pid)
            assert any("toy_server" in command_line(one) for one in left)
            bench.send_signal(number)
            bench.wait(WITHIN_S)
        finally:
            bench.kill()
    assert ended(*left)


def test_an_engine_ends_with_a_killed_server() -> None:
    with RunningServer() as server:
        left = descendants(server.process.pid)
        assert any("spawn_main" in command_line(one) for one in left)
        server.process.kill()
        server.process.wait()
        assert ended(*left)


def test_an_engine_that_loads_ends_with_a_killed_server() -> None:
    command = [sys.executable, "-m", "server", "serve", "--port", "0"]
    server = leash.start(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: has_started(server.pid, "spawn_main"))
    left = descendants(server.pid)
    server.kill()
    server.wait()
    assert ended(*left)


HANGS = """
import multiprocessing, time
from tests.load.test_leash import hang
if __name__ == "__main__":
    one = multiprocessing.get_context("spawn").Process(target=hang)
    one.start()
    time.sleep(600)
"""


def hang() -> None:
    """An engine in a call that never returns."""
    engine_worker.run_engine = lambda end, load: (print(os.getpid(), flush=True), time.sleep(600))  # type: ignore[assignment]
    engine_worker.run_process(None, None, None)  # type: ignore[arg-type]


def test_an_engine_that_hangs_ends_with_a_killed_server() -> None:
    server = subprocess.Popen([sys.executable, "-c", HANGS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with server:
        assert server.stdout is not None
        engine = psutil.Process(int(server.stdout.readline()))
        server.kill()
    assert ended(engine)
