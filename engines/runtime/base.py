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

    With C slots, S steps and F features: features [C, S, F] int64, rows of the LM's input table; past [C] int64, the
    number of steps already in the slot's cache. S is 1 but where one slot's next steps are verified together.
    """

    features: IntArray
    past: IntArray

    @classmethod
    def allocate(cls, slots: int, features: int, steps: int = 1) -> StepInputs:
        return cls(features=np.zeros((slots, steps, features), np.int64), past=np.zeros(slots, np.int64))


class LmRuntime(Protocol):
    """One decode step for the slots [first, last).

    Rows that no sequence wants may lie in the range: they are computed and ignored. Their cache is written at
    `past[row]` only, a place that the next real step of that slot writes again.
    """

    inputs: StepInputs
    kernels: str  # "ours", or which are not, and why
    device: str

    def step(self, first: int, last: int) -> FloatArray:
        """-> code logits [last - first, V], valid until the next step."""
        ...

    @property
    def ahead(self) -> StepInputs:
        """Where to write the steps of the next `verify`: one row, S steps, and `past`."""
        ...

    def verify(self, slot: int) -> FloatArray:
        """S steps of one slot at once: each sees those before it and has the bits that it has when made alone.

        -> code logits [S, V], valid until the next call. The cache holds all S afterwards; to take back the last ones,
        count fewer in `past`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftInputs:
    """One sequence as the drafter sees it, K codes to guess; reused: the caller writes, the runtime reads."""

    code: IntArray  # [1] the last pick
    features: IntArray  # [K, F - 1]: those of the next K steps, without the code
    scale: FloatArray  # [1]: 1 / temperature
    noise: FloatArray  # [K, V]: what the target will add at these positions

    @classmethod
    def allocate(cls, length: int, features: int, codes: int) -> DraftInputs:
        return cls(
            code=np.zeros(1, np.int64),
            features=np.zeros((length, features - 1), np.int64),
            scale=np.ones(1, np.float32),
            noise=np.zeros((length, codes), np.float32),
        )


class DraftRuntime(Protocol):
    length: int  # K
    inputs: DraftInputs

    def propose(self, *, greedy: bool) -> IntArray:
        """-> codes [K], which the next call writes over. With `greedy` scale and noise are not read."""
        ...


class DurationRuntime(Protocol):
    """How long phones last. The caller writes rows of `features` [R, F] and `stretch` [R] (log), then asks."""

    rows: int  # R
    features: IntArray
    stretch: FloatArray

    def plan(self) -> IntArray:
        """-> hops [R]; each row's depend on that row alone"""
        ...


class VocoderRuntime(Protocol):
    kernels: str  # "ours", or which are not, and why

    def initial_state(self, rows: int) -> State:
        """Silence before the first sample, each array [B, ...]."""
        ...

    def run(
        self, codes: IntArray, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        """codes [B, N], voices [B, V] (weights that sum to 1), pitch [B] (times the F0 that the network chooses),
        noise [B, look_back + N * samples_per_code], state [B, ...] -> spectrum [B, F, 2, bins] (real and imaginary),
        new state. The given state is not changed."""
        ...


def pure(voices: int, index: int) -> FloatArray:
    """The weights [1, V] of one voice alone."""
    return np.eye(1, voices, index, np.float32)
