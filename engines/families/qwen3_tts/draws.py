"""One number in [0, 1) for each code of a frame, keyed by (seed, frame): neighbours and batches change none."""

from __future__ import annotations

import numpy as np

from engines.runtime.base import FloatArray

_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea and Flood, 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def numbers(seed: int, frame: int, count: int) -> FloatArray:
    """[count], multiples of 2^-24, so that each is exact in float32 and below 1."""
    start = _mix(_mix(seed & _MASK) ^ frame)
    drawn = [_mix(start ^ place) >> 40 for place in range(count)]
    return np.array(drawn, np.float32) * np.float32(2**-24)
