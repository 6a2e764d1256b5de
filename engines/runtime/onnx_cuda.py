"""ONNX Runtime's CUDA provider behind `engines.runtime.base.Backend`: graphs are captured once and replayed.

One backend has one stream and belongs to one thread, the one that prepares its calls: the provider keeps captured
graphs by thread. A call is bound for its whole life, so that no replay runs over other shapes or addresses than its
capture. To prepare a call runs it three times, so that happens before any slot is leased, and buffers are cleared
after. Nothing is captured later: a call that was not prepared is refused.
"""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import EngineFault
from engines.runtime.base import Array, Buffer, Call, Graph, TensorSpec
from engines.runtime.cuda_session import EAGER, run_options, session, specs
from engines.runtime.device import CudaDevice, Device, Pinned
from engines.runtime.device_weights import DeviceWeights
from engines.runtime.ort import ort

_ELEMENTS = {"float32": 1, "float16": 10, "bfloat16": 16, "int64": 7, "int32": 6, "bool": 9}  # ONNX's numbers
_BRAIN = "bfloat16"  # no NumPy type: the host sees its bits, and reads and writes float32
_MOST_STAGED = 1 << 24  # bytes of pinned memory on the way to the device


_capturing = threading.Lock()


class _Memory:
    """One allocation. The host may write what it shares with the device only while no call over it is in flight."""

    def __init__(self, address: int, pinned: Pinned | None) -> None:
        self.address, self.pinned = address, pinned
        self.calls_in_flight = 0


class _Queue:
    """What a backend's buffers and calls share: the stream, and pinned memory on the way to and from the device."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, device.stream()
        self._finished = device.event()
        self._staging = device.pinned((1 << 16,), np.uint8)

    def finish(self) -> None:
        """Waits for all that was queued on this stream."""
        self.device.record(self._finished, self.stream)
        self.device.wait(self._finished)

    def write(self, to: int, content: Array) -> None:
        """Bytes [n], which are there when it returns."""
        for first in range(0, len(content), _MOST_STAGED):
            part = content[first : first + _MOST_STAGED]
            staged = self.staging(len(part))
            staged.array[: len(part)] = part
            self.device.copy(to + first, staged.address, len(part), self.stream)
            self.finish()

    def staging(self, size_bytes: int) -> Pinned:
        """Memory for one copy, which is finished before the next one asks."""
        if size_bytes > self._staging.array.nbytes:
            self._staging = self.device.pinned((size_bytes * 2,), np.uint8)
        return self._staging


class CudaBuffer:
    def __init__(self, queue: _Queue, memory: _Memory, shape: tuple[int, ...], dtype: str, first_byte: int = 0) -> None:
        self.shape, self.kind = shape, dtype
        self.dtype = np.dtype(np.uint16 if dtype == _BRAIN else dtype)
        self.memory = memory
        self._queue, self._first_byte = queue, first_byte

    @property
    def address(self) -> int:
        return self.memory.address + self._first_byte

    @property
    def size_bytes(self) -> int:
        return self._row_bytes * self.shape[0]

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def _array(self) -> Array:
        assert self.memory.pinned is not None
        whole = self.memory.pinned.array[self._first_byte : self._first_byte + self.size_bytes]
        array: Array = whole.view(self.dtype).reshape(self.shape)
        return array

    def rows(self, first: int, last: int) -> CudaBuffer:
        self._check_rows(first, last)
        shape = (last - first, *self.shape[1:])
        first_byte = self._first_byte + first * self._row_bytes
        return CudaBuffer(self._queue, self.memory, shape, self.kind, first_byte)

    def write(self, values: Array, first: int = 0) -> None:
        self._check_rows(first, first + len(values))
        if self.memory.pinned is not None:
            if self.memory.calls_in_flight:
                raise EngineFault("a buffer was written while a call over it was in flight; wait for the call first")
            self._array[first : first + len(values)] = values
            return
        plain = np.ascontiguousarray(self._narrow(values)).reshape(-1).view(np.uint8)
        self._queue.write(self.address + first * self._row_bytes, plain)

    def read(self, first: int = 0, last: int | None = None) -> Array:
        last = self.shape[0] if last is None else last
        self._check_rows(first, last)
        if self.memory.pinned is not None:
            return self._array[first:last]
        size_bytes = (last - first) * self._row_bytes
        staged = self._queue.staging(size_bytes)
        self._queue.device.copy(staged.address, self.address + first * self._row_bytes, size_bytes, self._queue.stream)
        self._queue.finish()
        values: Array = staged.array[:size_bytes].copy().view(self.dtype).reshape(last - first, *self.shape[1:])
        return _widened(values) if self.kind == _BRAIN else values

    def copy_row(self, source: int, target: int, positions: int) -> None:
        _, heads, length, width = self.shape
        assert positions <= length, (positions, length)
        size_bytes, head_bytes = positions * width * self.dtype.itemsize, length * width * self.dtype.itemsize
        start, to = (self.address + row * self._row_bytes for row in (source, target))
        self._queue.device.copy_columns(to, head_bytes, start, head_bytes, size_bytes, heads, self._queue.stream)

    def read_row(self, row: int, positions: int) -> Array:
        """bfloat16 as its bits."""
        _, heads, length, width = self.shape
        one = width * self.dtype.itemsize
        staged = self._queue.staging(heads * positions * one)
        source, pitch = self.address + row * self._row_bytes, positions * one
        self._queue.device.copy_columns(staged.address, pitch, source, length * one, pitch, heads, self._queue.stream)
        self._queue.finish()
        return staged.array[: heads * pitch].copy().view(self.dtype).reshape(heads, positions, width)

    def write_row(self, values: Array, row: int) -> None:
        heads, length, width = self.shape[1:]
        plain = np.ascontiguousarray(self._narrow(values)).reshape(-1).view(np.uint8)
        staged, one = self._queue.staging(len(plain)), width * self.dtype.itemsize
        staged.array[: len(plain)] = plain
        to, pitch = self.address + row * self._row_bytes, values.shape[1] * one
        self._queue.device.copy_columns(to, length * one, staged.address, pitch, pitch, heads, self._queue.stream)
        self._queue.finish()

    def _narrow(self, values: Array) -> Array:
        """In the buffer's own type; bits of bfloat16 are that already."""
        if self.kind == _BRAIN and values.dtype != self.dtype:
            return _narrowed(values)
        return values.astype(self.dtype, copy=False)

    def clear(self) -> None:
        self._queue.device.fill(self.address, 0, self.size_bytes, self._queue.stream)

    def _check_rows(self, first: int, last: int) -> None:
        if not 0 <= first <= last <= self.shape[0]:
            raise EngineFault(f"rows {first} to {last} of a buffer of {self.shape[0]} rows")


class CudaCall:
    """A captured graph over fixed addresses."""

    def __init__(self, queue: _Queue, graph: CudaGraph, number: int, buffers: Mapping[str, CudaBuffer]) -> None:
        self.graph, self.number, self.buffers = graph, number, dict(buffers)
        self._queue = queue
        self._event = queue.device.event()
        self._memories = {id(one.memory): one.memory for one in self.buffers.values()}.values()
        self._thread: int | None = None
        self._in_flight = 0
        self._open()

    def _open(self) -> None:
        self._binding, self._options = self.graph.session.io_binding(), run_options(self.number)
        for one in self.graph.inputs:
            self._binding.bind_input(*self._bound(one))
        for one in self.graph.outputs:
            self._binding.bind_output(*self._bound(one))

    def _bound(self, one: TensorSpec) -> tuple[Any, ...]:
        buffer = self.buffers[one.name]
        assert buffer.kind == one.dtype, f"{one.name} is {one.dtype}, its buffer {buffer.kind}"
        return one.name, "cuda", 0, _ELEMENTS[one.dtype], list(buffer.shape), buffer.address

    @property
    def state(self) -> dict[int, CudaBuffer]:
        """Buffers that the graph updates in place, by address."""
        written = {self.buffers[one.name].address for one in self.graph.outputs}
        read = (self.buffers[one.name] for one in self.graph.inputs)
        return {one.address: one for one in read if one.address in written}

    def prepare(self) -> None:
        """Captures, in the thread that will launch. The provider runs the graph twice and replays it once."""
        assert self._thread is None, "prepared twice"
        self._run()
        self._queue.finish()
        self._thread = threading.get_ident()

    def launch(self) -> None:
        if self._thread != threading.get_ident():
            why = "was not prepared at warm-up" if self._thread is None else "was prepared in another thread"
            raise EngineFault(f"{self.graph.name} {why}: to launch it would capture it now")
        self._run()
        self._queue.device.record(self._event, self._queue.stream)
        self._in_flight += 1
        for memory in self._memories:
            memory.calls_in_flight += 1

    def wait(self) -> None:
        try:
            self._queue.device.wait(self._event)
        finally:
            for memory in self._memories:
                memory.calls_in_flight -= self._in_flight
            self._in_flight = 0

    def _run(self) -> None:
        try:
            self.graph.session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # ONNX Runtime raises its own types
            raise EngineFault(f"{self.graph.name} failed on the device: {error}") from error


class CudaGraph:
    kernels = "ONNX Runtime's, CUDA"

    def __init__(self, queue: _Queue, path: Path, numbers: itertools.count[int], weights: DeviceWeights) -> None:
        self.name, self.path = path.name, path
        self._weights = weights.of(path)  # which the session does not keep
        self.session = session(path, queue.stream, self._weights)
        self._queue, self._numbers = queue, numbers
        self.inputs, self.outputs = specs(self.session.get_inputs()), specs(self.session.get_outputs())

    def bind(self, buffers: Mapping[str, Buffer], *, lane: int | None = None) -> Call:
        """One lane: calls of a stream follow each other."""
        wanted: dict[str, CudaBuffer] = {}
        for one in (*self.inputs, *self.outputs):
            buffer = buffers[one.name]
            assert isinstance(buffer, CudaBuffer), f"{one.name} is bound to another device's buffer"
            wanted[one.name] = buffer
        return CudaCall(self._queue, self, next(self._numbers), wanted)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [one.name for one in self.outputs]
        return dict(zip(names, self.session.run(names, dict(feeds), run_options(EAGER, waits=True)), strict=True))


class OnnxCuda:
    lanes = 1

    def __init__(self, device: Device | None = None, *, deterministic: bool = False) -> None:
        """Of device 0: CUDA_VISIBLE_DEVICES says which one that is."""
        self.device, self.deterministic = "cuda:0", deterministic
        self._device = device or CudaDevice()
        self._queue = _Queue(self._device)
        self.weights = DeviceWeights(self._device, self._queue.write)
        self._buffers: list[CudaBuffer] = []
        self._numbers = itertools.count(1)
        self._on_trial: list[CudaGraph] = []  # kept until the device is known to work: see `give_back`

    def graphs(self, *paths: Path, trial: Mapping[str, Array] | None = None) -> tuple[Graph, ...]:
        made = tuple(CudaGraph(self._queue, path, self._numbers, self.weights) for path in paths)
        self._on_trial += made
        return made

    @property
    def free_bytes(self) -> int:
        return self._device.facts().free_bytes

    def trust(self) -> None:
        """The device works: graphs live no longer than what uses them."""
        self._on_trial.clear()

    def give_back(self) -> bool:
        """All memory, after a failure. False where the device itself has failed: ONNX Runtime ends the process when it
        destroys a captured graph there, so this object and its graphs have to stay."""
        try:
            self._queue.finish()
        except EngineFault:
            return False
        self._on_trial.clear()
        gc.collect()  # what failed holds some of them in circles
        self._device.close()
        return True

    def buffer(self, shape: tuple[int, ...], dtype: str, *, shared: bool = False) -> CudaBuffer:
        """`shared` is pinned memory, read and written by the device where it lies."""
        size_bytes = int(np.prod(shape, dtype=np.int64)) * (2 if dtype == _BRAIN else np.dtype(dtype).itemsize)
        if shared:
            pinned = self._device.pinned((size_bytes,), np.uint8)
            memory = _Memory(pinned.address, pinned)
        else:
            memory = _Memory(self._device.allocate(size_bytes), None)
        self._buffers.append(CudaBuffer(self._queue, memory, shape, dtype))
        self._buffers[-1].clear()
        self._queue.finish()
        return self._buffers[-1]

    def copy(self, source: Buffer, to: Buffer) -> None:
        assert isinstance(source, CudaBuffer), "another backend's buffer"
        assert isinstance(to, CudaBuffer), "another backend's buffer"
        assert source.size_bytes == to.size_bytes, (source.shape, to.shape)
        self._device.copy(to.address, source.address, to.size_bytes, self._queue.stream)

    def prepare(self, *calls: Call) -> None:
        """Captures the calls and clears what they were captured over. All slots are free, and this is the thread that
        will launch. One backend prepares at a time: a capture forbids others to allocate."""
        with _capturing:
            for call in calls:
                assert isinstance(call, CudaCall), "a call of another backend"
                call.prepare()
        self.clear(*calls)

    def clear(self, *calls: Call) -> None:
        memories: dict[int, CudaBuffer] = {}
        for call in calls:
            assert isinstance(call, CudaCall), "a call of another backend"
            memories |= call.state
        for buffer in memories.values():
            buffer.clear()
        self._queue.finish()

    def arithmetic(self, kernels: str) -> str:
        major, minor = self._device.facts().capability
        return f"{kernels}; compute capability {major}.{minor}; onnxruntime-gpu {ort.__version__}"


def _narrowed(values: Array) -> Array:
    """float32 to the bits of bfloat16, to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    narrowed: Array = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return narrowed


def _widened(bits: Array) -> Array:
    widened: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return widened
