"""What families share on a device whose calls are captured: buckets of rows, and calls under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from engines.runtime.base import Array, Call


def buckets(most: int) -> list[int]:
    """Powers of two below `most`, and `most`."""
    return [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]


class InFlight:
    """A call under way and what is read after it."""

    def __init__(self, call: Call, read: Callable[[], Any]) -> None:
        self._call, self._read = call, read

    def wait(self) -> Any:
        self._call.wait()
        return self._read()


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
