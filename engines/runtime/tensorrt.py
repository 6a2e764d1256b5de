"""TensorRT's engines behind `engines.runtime.base.Backend`, over the same memory as ONNX Runtime's CUDA calls.

A folder of plans stands for a folder of graphs: `plans.json` says which plan, profile and tensors play the part of
`decode.onnx`, `verify-3.onnx` and so on, so a family binds the same buffers. A call is one captured CUDA graph: its
addresses and shapes never change. TensorRT updates in place only what it declares so; other state is written beside and
copied back inside the same capture. Calls of one backend follow each other, so they share the memory of activations; a
context that was given it may be captured again over other addresses.

A plan is of one GPU architecture and one TensorRT version. Whether it computes what it should is the self-test's to
say, never this file's.
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engines.errors import BundleError, ConfigError, EngineFault
from engines.runtime.base import Array, Buffer, Call, Graph, TensorSpec
from engines.runtime.device import Captured, Device
from engines.runtime.onnx_cuda import CudaBuffer, CudaCall, CudaGraph, OnnxCuda

PLANS, FORMAT = "plans.json", 1


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a plan plays a graph: names here are of the plan's tensors, values of the family's buffers."""

    plan: str
    profile: int = 0
    lengths: dict[str, int] = {}  # of axes that the plan leaves free and this part fixes
    named: dict[str, str] = {}  # that the family calls otherwise
    joined: dict[str, tuple[str, ...]] = {}  # inputs whose columns are those of several buffers
    counted: tuple[str, ...] = ()  # inputs that hold 0, 1, 2, ...
    given: dict[str, int] = {}  # inputs that hold one value in every row
    unread: tuple[str, ...] = ()  # outputs that the family does not bind


class Plans(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    tensorrt: str  # version
    capability: tuple[int, int]
    shapes: dict[str, dict[str, tuple[int | str, ...]]]  # by plan and tensor
    graphs: dict[str, Part]  # by the stem of the graph's file
    files: dict[str, str]  # sha256 by name

    @classmethod
    def load(cls, folder: Path) -> Plans:
        again = f"; build it again: parlando build-engine --out {folder.parent}"
        try:
            found = msgspec.json.decode((folder / PLANS).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise BundleError(f"{folder / PLANS} names no plans: {error}{again}") from error
        if found.format != FORMAT:
            raise BundleError(f"the plans have format {found.format}, this version reads {FORMAT}{again}")
        for name, digest in found.files.items():
            path = folder / name
            if not path.is_file() or _sha256(path) != digest:
                raise BundleError(f"{path} has not the sha256 that {PLANS} gives{again}")
        return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensorrt() -> Any:
    """The module. Raises ConfigError where it is not installed or cannot be loaded."""
    try:
        return importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise ConfigError(f"TensorRT cannot be loaded ({error}): pip install 'tensorrt-cu13>=11.4,<11.5'") from error


def logger(trt: Any) -> Any:
    """One that keeps warnings and errors in `heard`: the words that a caller needs where TensorRT returns None."""

    class Heard(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.heard: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR) or "Unused Input" in text:
                self.heard.append(text)

    return Heard()


class PlanCall(CudaCall):
    """A context of a profile and of shapes, the addresses of its tensors, and the capture of all it does."""

    graph: PlanGraph

    def _open(self) -> None:
        self._joined: list[tuple[CudaBuffer, list[CudaBuffer]]] = []
        self._written_back: list[tuple[CudaBuffer, CudaBuffer]] = []
        self._captured: Captured | None = None
        inputs = {name: self._input(name) for name in self.graph.plan_inputs}
        shapes = {name: self._shape(name, buffer) for name, buffer in inputs.items()}
        self._context, self.workspace_bytes = self.graph.context(shapes)
        self._ends = inputs | {name: self._output(name, inputs) for name in self.graph.plan_outputs}

    def _input(self, name: str) -> CudaBuffer:
        part, rows = self.graph.part, self._rows
        if name in part.counted:
            buffer = self.graph.buffer((part.lengths["S"],), "int64")
            buffer.write(np.arange(part.lengths["S"]))
            return buffer
        if name in part.given:
            buffer = self.graph.buffer((rows,), self.graph.dtype(name))
            buffer.write(np.full(rows, part.given[name]))
            return buffer
        if name not in part.joined:
            return self.buffers[part.named.get(name, name)]
        parts = [self.buffers[one] for one in part.joined[name]]
        columns = sum(one.size_bytes for one in parts) // rows // parts[0].dtype.itemsize
        whole = self.graph.buffer((rows, columns), parts[0].kind)
        self._joined.append((whole, parts))
        return whole

    def _output(self, name: str, inputs: Mapping[str, CudaBuffer]) -> CudaBuffer:
        """Where TensorRT may write. What is read too, and not declared to be updated in place, is copied afterwards."""
        part = self.graph.part
        if name in part.unread:
            return self.graph.buffer(self._shape(name, None), self.graph.dtype(name))
        buffer = self.buffers[part.named.get(name, name)]
        if (aliased := self.graph.engine.get_aliased_input_tensor(name)) is not None:
            if inputs[aliased].address != buffer.address:
                raise EngineFault(f"{self.graph.name} updates {aliased} in place, {name} is bound elsewhere")
            return buffer
        if all(buffer.memory is not one.memory for one in inputs.values()):
            return buffer
        beside = self.graph.buffer(buffer.shape, buffer.kind)
        self._written_back.append((beside, buffer))
        return beside

    @property
    def _rows(self) -> int:
        """Of the first buffer that has a row for each: `lengths` or `slots`."""
        return self.buffers["lengths" if "lengths" in self.buffers else "slots"].shape[0]

    def _shape(self, name: str, buffer: CudaBuffer | None) -> tuple[int, ...]:
        """The plan's own dimensions over the same bytes: a family's decode has no axis of steps."""
        wanted, lengths = self.graph.shapes[name], self.graph.part.lengths
        if buffer is not None and len(buffer.shape) == len(wanted):
            return buffer.shape
        return tuple(one if isinstance(one, int) else lengths.get(one, self._rows) for one in wanted)

    def prepare(self) -> None:
        """Once eagerly, since the first run may allocate; then captured."""
        assert self._thread is None, "prepared twice"
        if self.workspace_bytes:
            workspace = self.graph.workspace()
            self._context.set_device_memory(workspace.address, workspace.size_bytes)
        for name, buffer in self._ends.items():
            if not self._context.set_tensor_address(name, buffer.address):
                raise EngineFault(f"{self.graph.name} takes no address for {name}: {self.graph.heard()}")
        self._enqueue()
        self._queue.finish()
        self._captured = self._queue.device.capture(self._queue.stream, self._enqueue)
        self._thread = threading.get_ident()

    def _enqueue(self) -> None:
        device, stream = self._queue.device, self._queue.stream
        for whole, parts in self._joined:
            at, pitch = whole.address, whole.size_bytes // self._rows
            for part in parts:
                width = part.size_bytes // self._rows
                device.copy_columns(at, pitch, part.address, width, width, self._rows, stream)
                at += width
        if not self._context.execute_async_v3(stream):
            raise EngineFault(f"{self.graph.name} failed on the device: {self.graph.heard()}")
        for beside, buffer in self._written_back:
            device.copy(buffer.address, beside.address, buffer.size_bytes, stream)

    def _run(self) -> None:
        assert self._captured is not None
        self._queue.device.replay(self._captured, self._queue.stream)


class PlanGraph(CudaGraph):
    def __init__(self, backend: TensorRt, stem: str, part: Part) -> None:
        self.name, self.part, self.kernels = f"{stem} in {part.plan}", part, backend.kernels
        self.engine, self._backend = backend.engine(part.plan), backend
        self.buffer, self.shapes = backend.buffer, backend.plans.shapes[part.plan]
        self._contexts: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[Any, int]] = {}
        self._queue, self._numbers = backend.queue, backend.numbers
        trt, engine = backend.trt, self.engine
        names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.plan_inputs = [name for name in names if is_input[name]]
        self.plan_outputs = [name for name in names if not is_input[name]]
        made = {*part.counted, *part.given, *part.unread}
        self.inputs = self._specs(name for name in self.plan_inputs if name not in made)
        self.outputs = self._specs(name for name in self.plan_outputs if name not in made)

    def _specs(self, names: Iterable[str]) -> tuple[TensorSpec, ...]:
        """By the family's names."""
        return tuple(
            TensorSpec(name=one, shape=self.shapes[name], dtype=self.dtype(name))
            for name in names
            for one in self.part.joined.get(name, (self.part.named.get(name, name),))
        )

    def dtype(self, name: str) -> str:
        trt = self._backend.trt
        known = {trt.float32: "float32", trt.float16: "float16", trt.int64: "int64", trt.int32: "int32"}
        known |= {trt.bool: "bool", trt.bfloat16: "bfloat16"}
        return known[self.engine.get_tensor_dtype(name)]

    def heard(self) -> str:
        return self._backend.heard()

    def context(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, int]:
        """-> one of these shapes, and the bytes that it works in."""
        key = tuple(sorted(shapes.items()))
        if key not in self._contexts:
            trt_context = self.engine.create_execution_context(
                self._backend.trt.ExecutionContextAllocationStrategy.USER_MANAGED
            )
            if trt_context is None:
                raise EngineFault(f"no context for {self.name}: {self.heard()}")
            if not trt_context.set_optimization_profile_async(self.part.profile, self._queue.stream):
                raise EngineFault(f"{self.name} has no profile {self.part.profile}: {self.heard()}")
            self._queue.finish()
            for name, shape in shapes.items():
                if not trt_context.set_input_shape(name, shape):
                    raise EngineFault(f"{self.name} takes no {name} of shape {list(shape)}: {self.heard()}")
            self._contexts[key] = trt_context, int(trt_context.update_device_memory_size_for_shapes())
        return self._contexts[key]

    def workspace(self) -> CudaBuffer:
        assert self._backend.workspace is not None, "a call is prepared by its backend"
        return self._backend.workspace

    def bind(self, buffers: Mapping[str, Buffer], *, lane: int | None = None) -> Call:
        wanted: dict[str, CudaBuffer] = {}
        for one in (*self.inputs, *self.outputs):
            buffer = buffers[one.name]
            assert isinstance(buffer, CudaBuffer), f"{one.name} is bound to another device's buffer"
            assert buffer.kind == one.dtype, f"{one.name} is {one.dtype}, its buffer {buffer.kind}"
            wanted[one.name] = buffer
        return PlanCall(self._queue, self, next(self._numbers), wanted)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        raise EngineFault(f"{self.name} runs over bound buffers only")


class TensorRt(OnnxCuda):
    """Memory, streams and waits are those of the CUDA backend; the graphs are plans."""

    def __init__(
        self,
        folder: Path,
        device: Device | None = None,
        trt: Any = None,
        *,
        deterministic: bool = False,
    ) -> None:
        """Raises BundleError where the plans are of another device, TensorRT or file."""
        super().__init__(device, deterministic=deterministic)
        self.trt, self.plans, self._folder = trt or tensorrt(), Plans.load(folder), folder
        self.queue, self.numbers = self._queue, self._numbers
        here = self._device.facts().capability
        if self.plans.capability != here:
            made, found = (".".join(map(str, one)) for one in (self.plans.capability, here))
            raise BundleError(f"the plans are for compute capability {made}, this device has {found}: build them here")
        if self.plans.tensorrt != self.trt.__version__:
            raise BundleError(
                f"the plans are TensorRT {self.plans.tensorrt}'s, this is {self.trt.__version__}: build again"
            )
        self.kernels = f"TensorRT {self.plans.tensorrt}"
        self._logger, self._engines = logger(self.trt), dict[str, Any]()
        self.workspace: CudaBuffer | None = None
        self._runtime = self.trt.Runtime(self._logger)

    def graphs(self, *paths: Path, trial: Mapping[str, Array] | None = None) -> tuple[Graph, ...]:
        missing = [path.stem for path in paths if path.stem not in self.plans.graphs]
        if missing:
            raise BundleError(f"no plan plays {', '.join(missing)}; {self._folder} has {', '.join(self.plans.graphs)}")
        return tuple(PlanGraph(self, path.stem, self.plans.graphs[path.stem]) for path in paths)

    def prepare(self, *calls: Call) -> None:
        """Captured calls keep the memory that they were captured with, so one that is too small is left to them."""
        most = max((call.workspace_bytes for call in calls if isinstance(call, PlanCall)), default=0)
        if most and (self.workspace is None or self.workspace.size_bytes < most):
            self.workspace = self.buffer((most,), "uint8")
        super().prepare(*calls)

    def engine(self, plan: str) -> Any:
        if plan not in self._engines:
            self._engines[plan] = self._runtime.deserialize_cuda_engine((self._folder / plan).read_bytes())
            if self._engines[plan] is None:
                raise BundleError(f"TensorRT cannot load {self._folder / plan}: {self.heard()}")
        return self._engines[plan]

    def heard(self) -> str:
        """Its last words."""
        return self._logger.heard[-1] if self._logger.heard else "it does not say why"

    def arithmetic(self, kernels: str) -> str:
        """Tactics are chosen where a plan is built, so the plans themselves are part of it."""
        digests = hashlib.sha256("".join(sorted(self.plans.files.values())).encode()).hexdigest()
        major, minor = self._device.facts().capability
        return f"{kernels}; compute capability {major}.{minor}; plans {digests[:16]}"
