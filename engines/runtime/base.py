"""The shapes every backend keeps to. All arrays are on the host.

Both networks are pure in what they are given: the LM's cache lives in slots that the caller numbers, the vocoder's
state is handed in and out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInputs:
    """LM inputs by slot, reused from step to step: the caller writes rows, the runtime reads [first, last).

    With C slots, S steps and W window phones: code, elapsed, to_pause, pause_type, speaker [C, S] int64; phones
    [C, S, W] int64; speed [C, S] float32; past [C] int64, the number of steps already in the slot's cache. S is 1 but
    where one slot's next steps are verified together.
    """

    code: IntArray
    phones: IntArray
    elapsed: IntArray
    to_pause: IntArray
    pause_type: IntArray
    speaker: IntArray
    speed: FloatArray
    past: IntArray

    @classmethod
    def allocate(cls, slots: int, window: int, steps: int = 1) -> StepInputs:
        def column() -> IntArray:
            return np.zeros((slots, steps), np.int64)

        return cls(
            code=column(),
            phones=np.zeros((slots, steps, window), np.int64),
            elapsed=column(),
            to_pause=column(),
            pause_type=column(),
            speaker=column(),
            speed=np.zeros((slots, steps), np.float32),
            past=np.zeros(slots, np.int64),
        )


class LmRuntime(Protocol):
    """One decode step for the slots [first, last).

    Rows that no sequence wants may lie in the range: they are computed and ignored. Their cache is written at
    `past[row]` only, a place that the next real step of that slot writes again.
    """

    inputs: StepInputs

    def step(self, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        """-> code logits [last - first, V], advance logits [last - first, A + 1]; valid until the next step."""
        ...

    def hidden(self, slot: int) -> FloatArray:
        """The hidden state [D] of the slot's row in the last `step`."""
        ...

    @property
    def ahead(self) -> StepInputs:
        """Where to write the steps of the next `verify`: one row, S steps, and `past`."""
        ...

    def verify(self, slot: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """S steps of one slot at once: each sees those before it and has the bits that it has when made alone.

        -> code logits [S, V], advance logits [S, A + 1], hidden [S, D], valid until the next call. The cache holds all
        S afterwards; to take back the last ones, count fewer in `past`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftInputs:
    """One sequence as the draft heads see it. O places the pointer can reach, K picks to guess."""

    hidden: FloatArray  # [1, D] of the last step
    code: IntArray  # [1] that step's pick
    elapsed: IntArray  # [1] after its move
    phones: IntArray  # [O, W] windows from the pointer on
    to_pause: IntArray  # [O]
    pause_type: IntArray  # [O]
    speaker: IntArray  # [1]
    speed: FloatArray  # [1]
    scale: FloatArray  # [1]: 1 / temperature, or 1 when greedy
    noise: FloatArray  # [K, V]: what the target will add at these positions; zeros when greedy


class DraftRuntime(Protocol):
    length: int  # K
    offsets: int  # O

    def propose(self, inputs: DraftInputs) -> tuple[IntArray, IntArray]:
        """-> codes [K], advances [K]"""
        ...


class VocoderRuntime(Protocol):
    def initial_state(self, rows: int) -> State:
        """Silence before the first sample, each array [B, ...]."""
        ...

    def run(self, codes: IntArray, voice: IntArray, noise: FloatArray, state: State) -> tuple[FloatArray, State]:
        """codes [B, N], voice [B], noise [B, look_back + N * samples_per_code], state [B, ...]
        -> spectrum [B, F, 2, bins] (real and imaginary), new state. The given state is not changed."""
        ...
