"""A command that does not outlive the process that starts it, however that ends.

The starter holds the write end of the command's standard input. The command is executed in this very process, so its
number, signals and exit status are its own. A small child stays as a guard and reads the other end: when it closes, as
it does when the starter is killed, the guard ends the command, first with SIGTERM, then with SIGKILL. As long as the
command is the guard's parent, its number cannot be another process's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

_LEAVES_S = 5.0
_LOOKS_EVERY_S = 0.2


class _Leashed(subprocess.Popen[Any]):
    """Lets the guard go once the command is known to have ended."""

    def wait(self, timeout: float | None = None) -> int:
        super().wait(timeout)
        return self._let_go()

    def poll(self) -> int | None:
        return None if super().poll() is None else self._let_go()

    def _let_go(self) -> int:
        if self.stdin is not None:
            self.stdin.close()
        return int(self.returncode)


def start(command: list[str], **settings: Any) -> subprocess.Popen[Any]:
    """As Popen, without a standard input."""
    return _Leashed([sys.executable, "-I", __file__, *command], stdin=subprocess.PIPE, **settings)


def _guard(command: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the terminal, for the whole group
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # who reads what the command writes waits for its end, not for ours
    os.dup2(nowhere, 2)
    while os.getppid() == command:
        if select.select([0], [], [], _LOOKS_EVERY_S)[0] and not os.read(0, 4096):
            break
    for number in (signal.SIGTERM, signal.SIGKILL):
        if os.getppid() != command:
            return
        os.kill(command, number)
        gives_up_s = time.monotonic() + _LEAVES_S
        while os.getppid() == command and time.monotonic() < gives_up_s:
            time.sleep(_LOOKS_EVERY_S)


def _main() -> None:
    command = os.getpid()
    if os.fork() == 0:
        try:
            _guard(command)
        finally:
            os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    _main()
