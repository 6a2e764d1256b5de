"""One LM step for a batch of sequences: inputs in, picks out. The caller commits them.

A pick depends on the row's own logits, its seed and its position alone. A row whose values are not finite gets a fault
of its own; when a call fails its rows are called one by one, so that only those with which it fails end.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items

import numpy as np

from engines.bundle import Bundle
from engines.counters import Counters
from engines.errors import EngineFault
from engines.families.phone_pointer.inputs import write_row
from engines.randomness import gumbel
from engines.runtime.base import FloatArray, LmRuntime
from engines.scheduling.device_profile import DeviceProfile
from engines.sequence import Sequence

Clock = Callable[[], float]


Outcome = int | EngineFault  # a code, or why there is none


class Decoding:
    def __init__(
        self, bundle: Bundle, runtime: LmRuntime, counters: Counters, profile: DeviceProfile, clock: Clock
    ) -> None:
        self._bundle, self._runtime, self._counters, self._profile = bundle, runtime, counters, profile
        self._clock = clock

    def reset(self, slot: int) -> None:
        """The slot's next step is the first of its cache."""
        self._runtime.inputs.past[slot] = 0

    def keep_clear(self, sequence: Sequence) -> None:
        """A call over neighbours may compute its row too: that shall write where its own next step writes."""
        self._runtime.inputs.past[sequence.slot] = sequence.past

    def run(self, sequences: dict[int, Sequence], runs: Items[tuple[int, int]]) -> list[tuple[Sequence, Outcome]]:
        """Steps the slots of `runs`, disjoint ranges [first, last); `sequences` has those to commit, by slot."""
        outcomes: list[tuple[Sequence, Outcome]] = []
        for first, last in runs:
            batch = [sequences[slot] for slot in range(first, last) if slot in sequences]
            for sequence in batch:
                write_row(self._bundle, self._runtime.inputs, sequence)
            called_s = self._clock()
            try:
                code_logits = self._runtime.step(first, last)
            except Exception as error:  # whatever the backend raises belongs to one of these rows, not to the loop
                if last - first > 1:
                    outcomes += self.run(sequences, [(one.slot, one.slot + 1) for one in batch])
                else:
                    outcomes += [(one, EngineFault(f"the speech model failed: {error}")) for one in batch]
                continue
            busy_s = self._clock() - called_s
            self._counters.lm_busy_s += busy_s
            self._counters.lm_step_s.observe(busy_s)
            self._counters.batch_rows.observe(len(batch))
            self._counters.lm_steps += 1
            self._counters.lm_rows += len(batch)
            self._counters.lm_idle_rows += last - first - len(batch)
            self._counters.predicted_s += self._profile.step_s(last - first)
            codes = code_logits.argmax(axis=1)
            for sequence in batch:
                row = sequence.slot - first
                outcomes.append((sequence, _checked(sequence, code_logits[row], int(codes[row]))))
        return outcomes


def pick(sequence: Sequence, logits: FloatArray) -> Outcome:
    """logits [V] of the sequence's next position -> what it says there."""
    return _checked(sequence, logits, int(logits.argmax()))


def _checked(sequence: Sequence, logits: FloatArray, code: int) -> Outcome:
    """logits [V] and where they are largest: argmax stops at the first NaN, so that place tells all."""
    if not np.isfinite(logits[code]):
        return EngineFault("the speech model returned values that are not finite")
    if sequence.temperature > 0:
        noise = gumbel(sequence.request.seed, len(sequence.codes), len(logits))
        return int((logits / np.float32(sequence.temperature) + noise).argmax())
    return code
