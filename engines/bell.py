"""What a thread sleeps on until another one rings, or until something can be read."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import Protocol

_RINGS = 4096  # more than can come while nobody reads


class Readable(Protocol):
    def fileno(self) -> int: ...


class Bell:
    """A `threading.Event` whose wait may be for files too; one thread waits, any may ring."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._listening = False
        self._ends: tuple[int, int] | None = None  # of a pipe that ends a wait for files; opened for the first one

    def ring(self) -> None:
        self._rung.set()
        if self._listening and self._ends is not None:
            os.write(self._ends[1], b".")

    def clear(self) -> None:
        self._rung.clear()

    @property
    def rung(self) -> bool:
        return self._rung.is_set()

    def wait(self, timeout_s: float | None, *files: Readable) -> None:
        """Until it rings, or has rung; until one of `files` can be read or has ended; at most `timeout_s`."""
        if not files:
            self._rung.wait(timeout_s)
            return
        if self._ends is None:
            self._ends = os.pipe()
            os.set_blocking(self._ends[0], False)
        found = select.poll()
        watched: tuple[int | Readable, ...] = (self._ends[0], *files)
        for file in watched:
            found.register(file, select.POLLIN)
        # In this order, and `ring` in the other: whoever comes second sees what the first has done.
        self._listening = True
        if not self._rung.is_set():
            found.poll(None if timeout_s is None else 1000 * timeout_s)
        self._listening = False
        with contextlib.suppress(BlockingIOError):
            os.read(self._ends[0], _RINGS)

    def close(self) -> None:
        """Nobody waits or rings any more."""
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)
