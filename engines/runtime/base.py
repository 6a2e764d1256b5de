"""The device seam: what a model family runs its graphs on. A family is written once over it, a device once under it.

A backend knows neither models nor sequences; it loads graphs, owns memory and runs calls.
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

    def read_row(self, row: int, positions: int) -> Array:
        """-> host copy [heads, positions, width] of a slab's row, which `write_row` takes back bit for bit."""
        ...

    def write_row(self, values: Array, row: int) -> None:
        """values [heads, N, width] to the first N positions of a row of a slab; what lies behind them may change."""
        ...

    def clear(self) -> None:
        """Zeros, before any call that is launched later."""
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

    def bind(self, buffers: Mapping[str, Buffer], *, lane: int | None = None) -> Call:
        """Buffers by name of input and output; one buffer under both names is updated in place. Without a `lane` the
        call has the whole device; calls of different lanes, from 0 on, may run at once. Launch lane 0 last: it may run
        in the caller's thread. The first lane may load the graph once more: bind it before there is work."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Once, from host to host, with shapes that may differ from call to call. For small graphs."""
        ...


class Backend(Protocol):
    device: str  # "cpu", "cuda:0"
    lanes: int  # calls that may run at once; a Talker may cut a large batch into so many. 1 but on several CPU threads

    def graphs(self, *paths: Path, trial: Mapping[str, Array] | None = None) -> tuple[Graph, ...]:
        """Loads graphs that share one arithmetic, so that a step has the same bits in each. `trial`: feeds of a first
        call of the first graph, cast to its types; kernels that refuse it are not used. Raises BundleError."""
        ...

    def buffer(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """Zeroed, and committed at once: an engine that started has the memory for its last slot."""
        ...

    def arithmetic(self, kernels: str) -> str:
        """All that decides last bits besides the graphs: kernels, instructions or compute capability, versions."""
        ...
