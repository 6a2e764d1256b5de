"""ONNX Runtime on the CPU, behind `engines.runtime.base.Backend`.

Each session has its own threads; two spinning pools on the same cores would halve the speed, so the defaults give each
one thread. With two threads calls of two lanes may run at once, each on one: they meet once a call and not once a
kernel. A graph is loaded once, and once more when the first lane is bound. It runs on kernels of ours (cpu_kernels/)
where it has nodes for them, they were compiled and the processor has AVX2; else on the runtime's, which the graph
brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from engines.errors import BundleError
from engines.runtime.base import Array, Buffer, Call, Graph, TensorSpec
from engines.runtime.kernels import AUTO, FOLDED, Kernels, choose, instruction_class
from engines.runtime.ort import cpu_session, ort, session_options
from engines.runtime.prefault import zeros

_UNFOLDED = Kernels(form=None, why_not="the bundle's graph has no nodes for ours")
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"}


class CpuBuffer:
    """A host array; writes and reads are plain, reads are views."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.shape, self.dtype = array.shape, array.dtype

    def rows(self, first: int, last: int) -> CpuBuffer:
        return CpuBuffer(self.array[first:last])

    def write(self, values: Array, first: int = 0) -> None:
        self.array[first : first + len(values)] = values

    def read(self, first: int = 0, last: int | None = None) -> Array:
        return self.array[first:last]

    def copy_row(self, source: int, target: int, positions: int) -> None:
        self.array[target, :, :positions] = self.array[source, :, :positions]

    def read_row(self, row: int, positions: int) -> Array:
        return self.array[row, :, :positions].copy()

    def write_row(self, values: Array, row: int) -> None:
        self.array[row, :, : values.shape[1]] = values

    def clear(self) -> None:
        self.array.fill(0)


class _CpuCall:
    def __init__(self, session: ort.InferenceSession, binding: Any, kept: list[Any]) -> None:
        self._session, self._binding = session, binding
        self._kept = kept  # values that the binding must not outlive

    def launch(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def wait(self) -> None:
        pass


class _LaneCall(_CpuCall):
    """On a thread beside the caller's."""

    def __init__(self, lane: ThreadPoolExecutor, *bound: Any) -> None:
        super().__init__(*bound)
        self._lane = lane
        self._under_way: Future[None] | None = None

    def launch(self) -> None:
        self._under_way = self._lane.submit(super().launch)

    def wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()


class CpuGraph:
    def __init__(
        self,
        session: ort.InferenceSession,
        lone: Callable[[], ort.InferenceSession] | None,
        lane: ThreadPoolExecutor | None,
        kernels: str,
    ) -> None:
        """`lone` loads one with one thread, which may run several calls at once; None: this one does."""
        self._session, self._lone, self._lane = session, lone, lane
        self.kernels = kernels
        self.inputs, self.outputs = _specs(session.get_inputs()), _specs(session.get_outputs())
        self._output_names = [one.name for one in self.outputs]

    def bind(self, buffers: Mapping[str, Buffer], *, lane: int | None = None) -> Call:
        session = self._session if lane is None or self._lone is None else self._lone()
        binding, kept = session.io_binding(), list[Any]()
        values: dict[int, Any] = {}

        def value(name: str) -> Any:
            buffer = buffers[name]
            assert isinstance(buffer, CpuBuffer), f"{name} is bound to another device's buffer"
            if id(buffer) not in values:
                values[id(buffer)] = ort.OrtValue.ortvalue_from_numpy(buffer.array)
                kept.append((buffer, values[id(buffer)]))
            return values[id(buffer)]

        for one in self.inputs:
            binding.bind_ortvalue_input(one.name, value(one.name))
        for one in self.outputs:
            binding.bind_ortvalue_output(one.name, value(one.name))
        if lane and self._lane is not None:
            return _LaneCall(self._lane, session, binding, kept)
        return _CpuCall(session, binding, kept)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._output_names, self._session.run(self._output_names, dict(feeds)), strict=True))


class OnnxCpu:
    device = "cpu"

    def __init__(self, threads: int = 1, own_kernels: str = AUTO) -> None:
        self._threads, self._kernels = threads, choose(own_kernels)
        self.lanes = 2 if threads > 1 else 1
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="lane") if threads > 1 else None

    def graphs(self, *paths: Path, trial: Mapping[str, Array] | None = None) -> tuple[Graph, ...]:
        if self._kernels.form is None:
            return tuple(self._load(paths, self._kernels))
        try:
            found = self._load(paths, self._kernels)
            if trial is not None:
                _try(paths[0], found[0], trial)
        except BundleError as error:  # another geometry than our kernels offer
            found = self._load(paths, Kernels(form=None, why_not=str(error)))
        return tuple(found)

    def buffer(self, shape: tuple[int, ...], dtype: str) -> CpuBuffer:
        return CpuBuffer(zeros(shape, dtype))

    def arithmetic(self, kernels: str) -> str:
        return f"{kernels}; {instruction_class()}; onnxruntime {ort.__version__}"

    def _load(self, paths: tuple[Path, ...], kernels: Kernels) -> list[CpuGraph]:
        found = []
        for path in paths:
            session = _session(path, self._threads, kernels)
            lone = cache(partial(_session, path, 1, kernels)) if self._threads > 1 else None
            ours = kernels.form is None or session.get_modelmeta().custom_metadata_map.get(FOLDED) is not None
            found.append(CpuGraph(session, lone, self._lane, (kernels if ours else _UNFOLDED).name))
        return found


def _session(path: Path, threads: int, kernels: Kernels) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        kernels.register(options)
        # The fusion's one node takes twice the time of add and norm.
        return cpu_session(str(path), options, disabled_optimizers=["SkipLayerNormFusion"])
    except Exception as error:  # ONNX Runtime raises its own types for every kind of unreadable graph
        raise BundleError(f"{path.name} cannot be loaded: {error}") from error


def _try(path: Path, graph: CpuGraph, feeds: Mapping[str, Array]) -> None:
    """What the kernels do not offer they say at load, or, of shapes, at the first call."""
    try:
        graph.run({one.name: feeds[one.name].astype(one.dtype) for one in graph.inputs})
    except Exception as error:
        raise BundleError(f"a first call of {path.name} fails: {error}") from error


def _specs(ends: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=one.name, shape=tuple(one.shape), dtype=_dtype(one.type)) for one in ends)


def _dtype(kind: str) -> str:
    return _DTYPES.get(kind) or kind.removeprefix("tensor(").removesuffix(")")
