"""python -m loadtests.start_up: wall time from the start of a server's process to its first audio, and CPU time.

Each start is a new process on a new port, asked for speech as soon as it is ready. With several commands they take
turns, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from loadtests import leash
from loadtests.report import machine
from loadtests.server_process import Server, ServerTrouble, free_port, machine_cpu_s

_WITHIN_S = 120.0
_POLL_S = 0.01
_SPEECH = json.dumps({"input": "Ready when you are.", "response_format": "pcm"})
_OWN = f"{shlex.quote(sys.executable)} -m server serve --host 127.0.0.1 --port {{port}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    ready_s: float
    first_audio_s: float
    cpu_s: float  # of the server's processes, until then
    other_cpu_s: float  # of everything else on the machine

    def __str__(self) -> str:
        return f"first audio {self.first_audio_s:.2f} s (ready {self.ready_s:.2f}, CPU {self.cpu_s:.2f})"


def start_up(command: str) -> StartUp:
    """`command` names {port}. The server listens on the loopback."""
    port = free_port()
    before_s, began_s = machine_cpu_s(), time.monotonic()
    process = leash.start(shlex.split(command.format(port=port)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await_ready(process, port, began_s)
        ready_s = time.monotonic() - began_s
        _first_audio(port)
        first_audio_s = time.monotonic() - began_s
        cpu_s = Server(url="", pid=process.pid).cpu_s() or 0.0
        other_s = machine_cpu_s() - before_s - cpu_s
        return StartUp(ready_s=ready_s, first_audio_s=first_audio_s, cpu_s=cpu_s, other_cpu_s=other_s)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(process: subprocess.Popen[bytes], port: int, began_s: float) -> None:
    while True:
        if process.poll() is not None:
            raise ServerTrouble(f"the server ended with {process.returncode}")
        if time.monotonic() - began_s > _WITHIN_S:
            raise ServerTrouble(f"not ready after {_WITHIN_S:g} s")
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
            connection.request("GET", "/ready")
            ready = connection.getresponse().status == 200
            connection.close()
            if ready:
                return
        time.sleep(_POLL_S)


def _first_audio(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
    connection.request("POST", "/v1/audio/speech", _SPEECH)
    answer = connection.getresponse()
    first = answer.read(2)
    if answer.status != 200 or len(first) < 2:
        raise ServerTrouble(f"no speech: {answer.status} {first + answer.read(500)!r}")
    connection.close()


def main() -> None:
    words = argparse.ArgumentParser(prog="python -m loadtests.start_up", description=__doc__)
    words.add_argument("--starts", type=int, default=10)
    words.add_argument("--command", action="append", help="with {port}; without it this checkout's server")
    options = words.parse_args()
    commands = options.command or [_OWN]
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for command in commands:  # once, so that files are read and bytecode is written
        start_up(command)
    found: dict[str, list[StartUp]] = {command: [] for command in commands}
    for _ in range(options.starts):
        for command in commands:
            found[command].append(start_up(command))
            print(found[command][-1], flush=True)
    for command, starts in found.items():
        print(f"\n{command}\n{_summary(starts)}")


def _summary(starts: list[StartUp]) -> str:
    audio_s = [one.first_audio_s for one in starts]
    return (
        f"{len(starts)} starts: first audio after {median(audio_s):.2f} s (median), {min(audio_s):.2f} to "
        f"{max(audio_s):.2f} s; ready after {median(one.ready_s for one in starts):.2f} s; "
        f"CPU {median(one.cpu_s for one in starts):.2f} s, beside {median(one.other_cpu_s for one in starts):.2f} s of "
        f"other work"
    )


if __name__ == "__main__":
    main()
