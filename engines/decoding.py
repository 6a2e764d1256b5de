"""One LM step for a batch of sequences: inputs in, picks out. The caller commits them.

A pick depends on the row's own logits, its seed and its position alone. A row whose values are not finite, or whose
call failed, gets a fault of its own; its neighbours do not notice.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from engines.adapter_pointer import write_row
from engines.bundle import Bundle
from engines.cost_model import CostModel
from engines.counters import Counters
from engines.errors import EngineFault
from engines.randomness import gumbel
from engines.runtime.base import FloatArray, LmRuntime
from engines.sequence import Sequence

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What a row says next: a code and how far the pointer moves."""

    code: int
    advance: int


# None: a near tie in a cache that several steps at once have written, so that it must first be made exact.
Outcome = Pick | EngineFault | None

# Several steps in one call differ from single ones by at most 2e-5 (ONNX Runtime 1.31, the shipped LM; logits of
# either sign up to 20): sums over keys are taken in another order. Fifty times that is told apart with certainty.
NEAR_TIE = 1e-3


class Decoding:
    def __init__(self, bundle: Bundle, runtime: LmRuntime, counters: Counters, cost: CostModel, clock: Clock) -> None:
        """`cost` learns from every call; its size is the mean context."""
        self._bundle, self._runtime, self._counters, self._cost = bundle, runtime, counters, cost
        self._clock = clock

    def reset(self, slot: int) -> None:
        """The slot's next step is the first of its cache."""
        self._runtime.inputs.past[slot] = 0

    def keep_clear(self, sequence: Sequence) -> None:
        """A call over neighbours may compute its row too: that shall write where its own next step writes."""
        self._runtime.inputs.past[sequence.slot] = sequence.cached

    def run(self, sequences: dict[int, Sequence], runs: Items[tuple[int, int]]) -> list[tuple[Sequence, Outcome]]:
        """Steps the slots of `runs`, disjoint ranges [first, last); `sequences` has those to commit, by slot."""
        outcomes: list[tuple[Sequence, Outcome]] = []
        for first, last in runs:
            batch = [sequences[slot] for slot in range(first, last) if slot in sequences]
            for sequence in batch:
                write_row(self._bundle.adapter, self._runtime.inputs, sequence)
            started_s = self._clock()
            try:
                code_logits, advance_logits = self._runtime.step(first, last)
            except Exception as error:  # whatever the backend raises belongs to these rows, not to the loop
                fault = EngineFault(f"the speech model failed: {error}")
                outcomes += [(sequence, fault) for sequence in batch]
                continue
            spent_s = self._clock() - started_s
            self._cost.observe(last - first, float(self._runtime.inputs.past[first:last].mean()), spent_s)
            self._counters.lm_busy_s += spent_s
            self._counters.lm_steps += 1
            self._counters.lm_rows += len(batch)
            self._counters.lm_idle_rows += last - first - len(batch)
            codes, advances = code_logits.argmax(axis=1), advance_logits.argmax(axis=1)
            for sequence in batch:
                if sequence.cached < sequence.past:
                    sequence.cached += 1  # a step made again: what it says is known
                    continue
                row = sequence.slot - first
                logits, moves = code_logits[row], advance_logits[row]
                outcomes.append((sequence, _checked(sequence, logits, moves, int(codes[row]), int(advances[row]))))
        return outcomes


def pick(sequence: Sequence, logits: FloatArray, moves: FloatArray) -> Outcome:
    """logits [V], moves [A + 1] of the sequence's next position -> what it says there."""
    return _checked(sequence, logits, moves, int(logits.argmax()), int(moves.argmax()))


def _checked(sequence: Sequence, logits: FloatArray, moves: FloatArray, code: int, advance: int) -> Outcome:
    """logits [V], moves [A + 1], and where each is largest: argmax stops at the first NaN, so that place tells all."""
    if not (np.isfinite(logits[code]) and np.isfinite(moves[advance])):
        return EngineFault("the speech model returned values that are not finite")
    margin = NEAR_TIE
    if sequence.temperature > 0:
        noise = gumbel(sequence.request.seed, len(sequence.codes), len(logits))
        logits = logits / np.float32(sequence.temperature) + noise
        code = int(logits.argmax())
        margin /= min(1.0, sequence.temperature)
    if not sequence.exact and (_contested(logits, code, margin) or _contested(moves, advance, NEAR_TIE)):
        return None
    return Pick(code=code, advance=advance)


def _contested(values: FloatArray, best: int, margin: float) -> bool:
    """Whether another value comes within `margin` of the best."""
    return int(np.count_nonzero(values > values[best] - margin)) > 1
