"""Who guesses the LM's next picks. A guess costs little and is never trusted: `engines.speculation` checks each.

A drafter sees one sequence and answers with picks that may follow its last one. Two kinds: the forecast that a bundle
may bring beside its LM, and the sequence's own past (n-grams), the baseline it was measured against.
"""

from __future__ import annotations

from typing import Protocol

from engines.bundle import Bundle
from engines.randomness import gumbel
from engines.runtime.base import DraftRuntime, IntArray
from engines.sequence import Sequence


class Drafter(Protocol):
    length: int  # guesses at most

    def propose(self, sequence: Sequence, ahead: IntArray) -> list[int]:
        """ahead [N, F - 1], what the next N steps will see beside their codes -> their picks, at most N"""
        ...


class ForecastDrafter:
    def __init__(self, bundle: Bundle, runtime: DraftRuntime) -> None:
        self._runtime, self._codes = runtime, bundle.codes.count
        self.length = runtime.length

    def propose(self, sequence: Sequence, ahead: IntArray) -> list[int]:
        inputs, seen = self._runtime.inputs, len(ahead)
        inputs.code[0], inputs.features[:seen] = sequence.previous_code, ahead
        greedy = sequence.temperature <= 0
        if not greedy:
            self._lay_out_noise(sequence)
            inputs.scale[0] = 1.0 / sequence.temperature
        guesses: list[int] = self._runtime.propose(greedy=greedy)[:seen].tolist()
        return guesses

    def _lay_out_noise(self, sequence: Sequence) -> None:
        """The very noise the target adds at these positions: the coupling that lets equal opinions pick equally."""
        # The target's first unseen position is the step whose guess is checked, one after the last committed code.
        first = len(sequence.codes)
        for index, row in enumerate(self._runtime.inputs.noise):
            row[:] = gumbel(sequence.request.seed, first + index, self._codes)


class NgramDrafter:
    """Continues as the sequence did when its last two codes came before; training-free."""

    def __init__(self, length: int = 2) -> None:
        self.length = length

    def propose(self, sequence: Sequence, ahead: IntArray) -> list[int]:
        codes = sequence.codes
        for place in range(len(codes) - 2, 0, -1):
            if codes[place] == codes[-1] and codes[place - 1] == codes[-2]:
                return codes[place + 1 : place + 1 + min(self.length, len(ahead))]
        return []
