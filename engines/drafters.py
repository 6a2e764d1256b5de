"""Who guesses the LM's next picks. A guess costs little and is never trusted: `engines.speculation` checks each.

A drafter sees one sequence and answers with picks that may follow its last one. Two kinds: heads trained on the LM's
hidden state, which a bundle may bring, and the sequence's own past (n-grams), the baseline they were measured against.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from engines.adapter_pointer import features
from engines.bundle import Bundle
from engines.randomness import gumbel
from engines.runtime.base import DraftInputs, DraftRuntime, FloatArray
from engines.sequence import Sequence
from engines.timetable import place_at


class Drafter(Protocol):
    length: int  # guesses at most

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[int]:
        """hidden [D] of the sequence's last step, whose pick is committed -> the picks that may follow."""
        ...


class HeadDrafter:
    def __init__(self, bundle: Bundle, runtime: DraftRuntime) -> None:
        self._bundle, self._runtime = bundle, runtime
        self.length = runtime.length
        self._silent = np.zeros((runtime.length, bundle.codes.count), np.float32)
        self._features = np.zeros((runtime.length, bundle.adapter.features - 1), np.int64)

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[int]:
        seen = self._look_ahead(sequence)
        if not seen:
            return []
        greedy = sequence.temperature <= 0
        inputs = DraftInputs(
            hidden=hidden[None],
            code=np.array([sequence.previous_code]),
            features=self._features,
            scale=np.array([1.0 if greedy else 1.0 / sequence.temperature], np.float32),
            noise=self._silent if greedy else self._noise(sequence),
        )
        guesses: list[int] = self._runtime.propose(inputs)[:seen].tolist()
        return guesses

    def _look_ahead(self, sequence: Sequence) -> int:
        """Lays out what the next steps will see but their codes; returns how many are in sight."""
        place, step = sequence.place, 0
        while place is not None and step < self.length:
            self._features[step] = features(self._bundle, sequence, place)[1:]
            place = place_at(self._bundle, sequence.segments[0], place.step + 1, place.pointer, 0)
            step += 1
        return step

    def _noise(self, sequence: Sequence) -> FloatArray:
        """The very noise the target adds at these positions: the coupling that lets equal opinions pick equally."""
        # The target's first unseen position is the step whose guess is checked, one after the last committed code.
        first, width = len(sequence.codes), self._silent.shape[1]
        return np.stack([gumbel(sequence.request.seed, first + index, width) for index in range(self.length)])


class NgramDrafter:
    """Continues as the sequence did when its last two codes came before; training-free."""

    def __init__(self, length: int = 2) -> None:
        self.length = length

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[int]:
        codes = sequence.codes
        for place in range(len(codes) - 2, 0, -1):
            if codes[place] == codes[-1] and codes[place - 1] == codes[-2]:
                following = codes[place + 1 : place + 1 + self.length]
                return following
        return []
