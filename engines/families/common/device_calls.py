"""What families share on a device whose calls are captured: buckets of rows, and calls under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from statistics import median
from typing import Any

import numpy as np

from engines.runtime.base import Array, Call
from engines.runtime.device_backend import DeviceBackend

_TIMED = 5  # calls of each kind, interleaved


def buckets(most: int, *, one: bool = False) -> list[int]:
    """Powers of two below `most`, and `most`. One bucket: the rows of a call have the same bits in every batch."""
    return [most] if one else [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]


def prepare(
    backend: DeviceBackend, calls: Collection[Call], smallest: Call | None, others: Iterable[Call] = ()
) -> float:
    """Captures all. With `smallest`, the call that is not made because one shape serves: how many times as long as it
    the only one of `calls` takes; otherwise 1."""
    backend.prepare(*calls, *others, *([] if smallest is None else [smallest]))
    if smallest is None:
        return 1.0
    (only,) = calls
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(_TIMED):
        for which, call in enumerate((only, smallest)):
            began_s = time.perf_counter()
            call.launch()
            call.wait()
            seconds[which].append(time.perf_counter() - began_s)
    backend.clear(only, smallest)
    return median(seconds[0]) / median(seconds[1])


class InFlight:
    """A call under way, what is read after it, and what is done however it ended."""

    def __init__(self, call: Call, read: Callable[[], Any], done: Callable[[], None] = lambda: None) -> None:
        self._call, self._read, self._done = call, read, done

    def wait(self) -> Any:
        try:
            self._call.wait()
            return self._read()
        finally:
            self._done()


def spread(covered: int, slots: Array, values: Array, other: float = 0) -> Array:
    """[B, ...] to rows of a call over `covered` slots; the others hold a value that every input takes."""
    found = np.full((covered, *values.shape[1:]), other, values.dtype)
    found[slots] = values
    return found


def one_call(slots: list[int], others: list[int]) -> list[list[int]]:
    """A call covers the slots from 0 to the last one wanted: all that can step below it comes along."""
    if not slots:
        return []
    last = max(slots)
    return [[*slots, *(slot for slot in others if slot <= last)]]
