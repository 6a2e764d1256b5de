"""All randomness, counter-based: what a sequence draws depends on its seed and position, never on its neighbours.

Fixed tables of normal and Gumbel numbers are read from places that a hash of (seed, position) chooses: as good for
the ear as fresh numbers, a hundred times cheaper, and the same on every run.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from engines.runtime.base import FloatArray, IntArray

_SIZE = 1 << 20
_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea and Flood, 2014): neighbouring integers to unrelated ones."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


@cache
def _normal_table() -> FloatArray:
    table = np.random.Generator(np.random.Philox(key=0)).standard_normal(_SIZE, np.float32)
    return np.concatenate([table, table])


@cache
def _gumbel_table() -> FloatArray:
    uniform = np.random.Generator(np.random.Philox(key=1)).random(_SIZE)
    table = -np.log(-np.log(np.clip(uniform, 1e-12, 1 - 1e-12)))
    return np.concatenate([table, table]).astype(np.float32)


def noise(seed: int, first_sample: int, count: int) -> FloatArray:
    """Unit normal excitation for samples [first_sample, first_sample + count) of an utterance, count <= 2^20."""
    start = (_mix(seed) + first_sample) % _SIZE
    return _normal_table()[start : start + count]


def gumbel(seed: int, position: int, count: int) -> FloatArray:
    """Gumbel noise for the code at `position`: argmax(logits / T + gumbel) samples softmax(logits / T)."""
    start = _mix(_mix(seed) ^ position) % _SIZE
    return _gumbel_table()[start : start + count]


def normals(seed: int, position: int, count: int) -> FloatArray:
    """Unit normal numbers for the frame at `position`, of `count` values."""
    start = _mix(_mix(seed) ^ position) % _SIZE
    return _normal_table()[start : start + count]


# -- for a device that holds the tables itself: where to read in them


def gumbel_places(keys: IntArray, steps: int) -> IntArray:
    """keys [B, 2] = (seed, position) -> [B, S]: where `gumbel` begins, for so many positions of each row."""
    seeds, positions = keys.astype(np.uint64).T
    mixed = _mix_all(_mix_all(seeds)[:, None] ^ (positions[:, None] + np.arange(steps, dtype=np.uint64)))
    return (mixed % np.uint64(_SIZE)).astype(np.int64)


def noise_places(seeds: IntArray, first_samples: IntArray) -> IntArray:
    """[B], [B] -> [B]: where `noise` begins."""
    return ((_mix_all(seeds.astype(np.uint64)) + first_samples.astype(np.uint64)) % np.uint64(_SIZE)).astype(np.int64)


def _mix_all(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`_mix` of each."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def tables() -> tuple[FloatArray, FloatArray]:
    """Normal and Gumbel numbers, as `noise` and `gumbel` read them."""
    return _normal_table(), _gumbel_table()
