"""The device seam: what a model family runs its graphs on. A family is written once over it, a device once under it.

The Protocols from `StepInputs` on are the shipped voice's own, until it runs over the Backend as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
State = dict[str, NDArray[Any]]


class Buffer(Protocol):
    """Memory of the device, [N, ...], at one address for its whole life. Rows are along the first axis."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def rows(self, first: int, last: int) -> Buffer:
        """[first, last) of the same memory."""
        ...

    def write(self, values: Array, first: int = 0) -> None:
        """values [M, ...] to rows [first, first + M), before any call that is launched later."""
        ...

    def read(self, first: int = 0, last: int | None = None) -> Array:
        """-> host array [last - first, ...], perhaps a view: valid until a later call writes there."""
        ...

    def copy_row(self, source: int, target: int, positions: int) -> None:
        """Of a slab [rows, heads, T, width]: the first `positions` of a row to another one."""
        ...


class Call(Protocol):
    """A graph over bound buffers."""

    def launch(self) -> None:
        """Starts it. A device without a queue of its own has finished it on return."""
        ...

    def wait(self) -> None:
        """Until what was launched last is done, the interpreter lock released. Raises what went wrong."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    name: str
    shape: tuple[int | str, ...]  # a name stands for a length that the graph leaves open
    dtype: str  # a NumPy name


class Graph(Protocol):
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: str  # whose they are, and why not ours

    def bind(self, buffers: Mapping[str, Buffer], *, lane: int = 0) -> Call:
        """Buffers by name of input and output; one buffer under both names is updated in place. Calls of different
        lanes may run at once, see `Backend.lanes`."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Once, from host to host, with shapes that may differ from call to call. For small graphs."""
        ...


class Backend(Protocol):
    device: str  # "cpu", "cuda:0"
    lanes: int  # calls that may run at once; a Talker may cut a large batch into so many. 1 but on several CPU threads

    def graphs(self, *paths: Path, trial: Mapping[str, Array] | None = None) -> tuple[Graph, ...]:
        """Loads graphs that share one arithmetic, so that a step has the same bits in each. `trial`: feeds of a first
        call of the first graph; kernels that refuse it are not used. Raises BundleError."""
        ...

    def buffer(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """Zeroed, and committed at once: an engine that started has the memory for its last slot."""
        ...

    def arithmetic(self, kernels: str) -> str:
        """All that decides last bits besides the graphs: kernels, instructions or compute capability, versions."""
        ...


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
