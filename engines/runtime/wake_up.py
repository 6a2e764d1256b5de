"""A wake-up event that can be waited on together with file descriptors."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import Protocol

_MOST_UNREAD = 4096  # more notifications than can come between two waits


class Readable(Protocol):
    def fileno(self) -> int: ...


def polling(*files: int | Readable) -> select.poll:
    """For what can be read or has ended; of any number, where `select` knows those below 1024 alone."""
    found = select.poll()
    for file in files:
        found.register(file, select.POLLIN)
    return found


class WakeUp:
    """A `threading.Event` whose wait may be for files too; one thread waits, any may notify."""

    def __init__(self) -> None:
        self._is_set = threading.Event()
        self._listening = False
        self._ends: tuple[int, int] | None = None  # of a pipe that ends a wait for files; opened for the first one

    def notify(self) -> None:
        self._is_set.set()
        if self._listening and self._ends is not None:
            os.write(self._ends[1], b".")

    def clear(self) -> None:
        self._is_set.clear()

    @property
    def is_set(self) -> bool:
        return self._is_set.is_set()

    def wait(self, timeout_s: float | None, *files: Readable) -> None:
        """Until it is notified, or has been; until one of `files` can be read or has ended; at most `timeout_s`."""
        if not files:
            self._is_set.wait(timeout_s)
            return
        if self._ends is None:
            self._ends = os.pipe()
            os.set_blocking(self._ends[0], False)
        found = polling(self._ends[0], *files)
        # In this order, and `notify` in the other: the second of the two sees what the first has done.
        self._listening = True
        if not self._is_set.is_set():
            found.poll(None if timeout_s is None else 1000 * timeout_s)
        self._listening = False
        with contextlib.suppress(BlockingIOError):
            os.read(self._ends[0], _MOST_UNREAD)

    def close(self) -> None:
        """No thread may wait or notify any more."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)
