"""The forecast that a bundle may bring beside its speech model, behind the Drafter Protocol.

It samples with the very noise that the target adds at these positions: the coupling that lets equal opinions sample
equally.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from engines.families.base import Frames, Rows, Sampling
from engines.families.common.randomness import gumbel
from engines.families.common.sampling import MIN_TEMPERATURE
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.inputs import frames_of
from engines.families.phone_pointer.networks import Forecast
from engines.runtime.base import IntArray


class ForecastDrafter:
    def __init__(self, bundle: Bundle, network: Forecast, tolerance: int) -> None:
        self._bundle, self._network, self._codes = bundle, network, bundle.codes.count
        self._levels, self._tolerance = bundle.codes.levels, tolerance
        self.frames = network.length

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Sequence[Sampling], keys: IntArray, made: Sequence[Frames]
    ) -> Frames:
        drafted = np.zeros((len(rows), self.frames), np.int64)
        for row, (count, how) in enumerate(zip(counts.tolist(), sampling, strict=True)):
            code, ahead = int(made[row][-1, 0]), rows[row, :count]
            if how.temperature < MIN_TEMPERATURE:
                drafted[row] = self._network.propose(code, ahead)
                continue
            seed, first = keys[row].tolist()
            noise = np.stack([gumbel(seed, first + step, self._codes) for step in range(self.frames)])
            drafted[row] = self._network.propose(code, ahead, 1.0 / how.temperature, noise)
        return frames_of(self._bundle, drafted[:, : rows.shape[1]], rows)

    def stands(self, drafted: Frames, sampled: Frames) -> bool:
        return stands(self._levels, int(drafted[0]), int(sampled[0]), self._tolerance)


def stands(levels: tuple[int, ...], draft: int, sampled: int, tolerance: int) -> bool:
    """Whether a draft may stand for the sample: every digit within `tolerance` of the same digit of `sampled`.

    A code of a finite scalar quantiser is a number in mixed radix: a digit of each dimension, the least significant
    first; digits one apart are neighbours in sound. Levels are a line, not a ring: first and last are far apart. What
    is no code, as that which opens a segment, is near nothing but itself.
    """
    if draft == sampled:
        return True
    if tolerance == 0 or not 0 <= min(draft, sampled) <= max(draft, sampled) < math.prod(levels):
        return False
    for count in levels:
        draft, guessed = divmod(draft, count)
        sampled, digit = divmod(sampled, count)
        if abs(guessed - digit) > tolerance:
            return False
    return True
