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

    With C slots and W window phones: code, elapsed, to_pause, pause_type, speaker [C, 1] int64; phones [C, 1, W]
    int64; speed [C, 1] float32; past [C] int64, the number of steps already in the slot's cache.
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
    def allocate(cls, slots: int, window: int) -> StepInputs:
        def column() -> IntArray:
            return np.zeros((slots, 1), np.int64)

        return cls(
            code=column(),
            phones=np.zeros((slots, 1, window), np.int64),
            elapsed=column(),
            to_pause=column(),
            pause_type=column(),
            speaker=column(),
            speed=np.zeros((slots, 1), np.float32),
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


class VocoderRuntime(Protocol):
    def initial_state(self, rows: int) -> State:
        """Silence before the first sample, each array [B, ...]."""
        ...

    def run(self, codes: IntArray, voice: IntArray, noise: FloatArray, state: State) -> tuple[FloatArray, State]:
        """codes [B, N], voice [B], noise [B, look_back + N * samples_per_code], state [B, ...]
        -> spectrum [B, F, 2, bins] (real and imaginary), new state. The given state is not changed."""
        ...
