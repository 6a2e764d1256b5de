"""Who guesses the LM's next picks. A guess costs little and is never trusted: `engines.speculation` checks each.

A drafter sees one sequence and answers with picks that may follow its last one. Two kinds: heads trained on the LM's
hidden state, which a bundle may bring, and the sequence's own past (n-grams), the baseline they were measured against.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from engines.adapter_pointer import next_pause, window
from engines.bundle import Bundle
from engines.randomness import gumbel
from engines.runtime.base import DraftInputs, DraftRuntime, FloatArray
from engines.sequence import Sequence

Guess = tuple[int, int]  # code, advance


class Drafter(Protocol):
    length: int  # guesses at most

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[Guess]:
        """hidden [D] of the sequence's last step, whose pick is committed -> the picks that may follow."""
        ...


class HeadDrafter:
    def __init__(self, bundle: Bundle, runtime: DraftRuntime) -> None:
        self._adapter, self._runtime = bundle.adapter, runtime
        self.length = runtime.length
        offsets, wide = runtime.offsets, len(bundle.adapter.window)
        self._silent = np.zeros((runtime.length, bundle.codes.count), np.float32)
        self._phones = np.zeros((offsets, wide), np.int64)
        self._to_pause, self._pause_type = np.zeros(offsets, np.int64), np.zeros(offsets, np.int64)

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[Guess]:
        segment, adapter = sequence.segments[0], self._adapter
        for offset in range(self._runtime.offsets):
            pointer = sequence.pointer + offset
            self._phones[offset] = window(adapter, segment, pointer)
            self._to_pause[offset], self._pause_type[offset] = next_pause(adapter, segment, pointer)
        greedy = sequence.temperature <= 0
        inputs = DraftInputs(
            hidden=hidden[None],
            code=np.array([sequence.previous_code]),
            elapsed=np.array([min(sequence.elapsed, adapter.max_elapsed)]),
            phones=self._phones,
            to_pause=self._to_pause,
            pause_type=self._pause_type,
            speaker=np.array([sequence.voice.index]),
            speed=np.array([math.log(sequence.stretch)], np.float32),
            scale=np.array([1.0 if greedy else 1.0 / sequence.temperature], np.float32),
            noise=self._silent if greedy else self._noise(sequence),
        )
        codes, advances = self._runtime.propose(inputs)
        return list(zip(codes.tolist(), advances.tolist()))

    def _noise(self, sequence: Sequence) -> FloatArray:
        """The very noise the target adds at these positions: the coupling that lets equal opinions pick equally."""
        # The target's first unseen position is the step whose guess is checked, one after the last committed code.
        first, width = len(sequence.codes), self._silent.shape[1]
        return np.stack([gumbel(sequence.request.seed, first + index, width) for index in range(self.length)])


class NgramDrafter:
    """Continues as the sequence did when its last two codes came before; training-free."""

    def __init__(self, length: int = 2) -> None:
        self.length = length

    def propose(self, sequence: Sequence, hidden: FloatArray) -> list[Guess]:
        codes = sequence.codes
        for place in range(len(codes) - 2, 0, -1):
            if codes[place] == codes[-1] and codes[place - 1] == codes[-2]:
                following = codes[place + 1 : place + 1 + self.length]
                return [(code, 0) for code in following]
        return []
