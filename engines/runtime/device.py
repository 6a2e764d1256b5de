"""One CUDA device through ctypes: memory, streams, events, copies. No torch, no cupy.

Everything is asynchronous on a stream of ours and awaited by an event; ctypes releases the interpreter lock meanwhile.
Nothing here waits for the whole device, and nothing uses the default stream, which does not wait for ours.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engines.errors import ConfigError, EngineFault

Stream = int
Event = int
Captured = int

# What ONNX Runtime's CUDA provider links. Loaded first and for all, so that its own loading finds them.
LIBRARIES = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10")
_WHEELS = "cu13/lib"  # where the vendor's wheels put them, under the package `nvidia`
_TO_DEVICE_OR_BACK = 4  # cudaMemcpyDefault: the driver knows each address
_NON_BLOCKING, _MAPPED = 1, 2
_NO_TIMING, _BLOCKING_SYNC = 2, 1  # a waiting thread sleeps; with two cores a spinning one would take half of them
_MAJOR, _MINOR = 75, 76  # attributes: compute capability
_NOT_READY = 600
_GLOBAL = 0  # a capture that any thread's allocation breaks, so that none goes unnoticed

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (c_void_p,),
    "cudaSetDevice": (c_int,),
    "cudaDeviceGetAttribute": (c_void_p, c_int, c_int),
    "cudaDriverGetVersion": (c_void_p,),
    "cudaMemGetInfo": (c_void_p, c_void_p),
    "cudaMalloc": (c_void_p, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (c_void_p, c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaMemcpy2DAsync": (c_void_p, c_size_t, c_void_p, c_size_t, c_size_t, c_size_t, c_int, c_void_p),
    "cudaMemsetAsync": (c_void_p, c_int, c_size_t, c_void_p),
    "cudaStreamCreateWithFlags": (c_void_p, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaEventCreateWithFlags": (c_void_p, c_uint),
    "cudaEventDestroy": (c_void_p,),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventQuery": (c_void_p,),
    "cudaEventSynchronize": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, c_void_p),
    "cudaGraphInstantiate": (c_void_p, c_void_p, c_ulonglong),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGetLastError": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """Host memory that the device reads and writes under the same address."""

    address: int
    array: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    capability: tuple[int, int]
    driver: int  # 13000 is CUDA 13.0
    free_bytes: int
    total_bytes: int


class Device(Protocol):
    """Addresses are the device's. Each call raises EngineFault with the driver's own words."""

    def facts(self) -> DeviceFacts: ...

    def allocate(self, size_bytes: int) -> int:
        """Device memory with whatever was there before; `fill` it."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        """Zeroed."""
        ...

    def stream(self) -> Stream: ...

    def event(self) -> Event: ...

    def copy(self, to: int, source: int, size_bytes: int, stream: Stream) -> None:
        """Queued. Between device and pinned memory only: from other memory a copy is not asynchronous."""
        ...

    def copy_columns(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, stream: Stream
    ) -> None:
        """Queued: `width` bytes of each of `rows` rows, which lie a pitch apart."""
        ...

    def fill(self, address: int, value: int, size_bytes: int, stream: Stream) -> None:
        """Queued: every byte becomes `value`."""
        ...

    def capture(self, stream: Stream, work: Callable[[], None]) -> Captured:
        """What `work` queues on the stream, which it does not do now. No thread may allocate meanwhile."""
        ...

    def replay(self, captured: Captured, stream: Stream) -> None:
        """Queued."""
        ...

    def record(self, event: Event, stream: Stream) -> None: ...

    def is_reached(self, event: Event) -> bool: ...

    def wait(self, event: Event) -> None:
        """Blocks, with the interpreter lock released."""
        ...

    def close(self) -> None:
        """Gives back everything; no stream may still have work."""
        ...


class CudaDevice:
    """The one device of this process. Used by one thread at a time, `wait` excepted."""

    def __init__(self, index: int = 0) -> None:
        load_libraries()
        self._cudart = _bound(ctypes.CDLL(LIBRARIES[0]))
        self._index = index
        self._device_memory: list[int] = []
        self._host_memory: list[int] = []
        self._streams: list[Stream] = []
        self._events: list[Event] = []
        self._captured: list[Captured] = []
        found = c_int()
        self._call("cudaGetDeviceCount", byref(found))
        if index >= found.value:
            raise ConfigError(f"CUDA device {index} was asked for; this machine has {found.value}, counted from 0")
        self._call("cudaSetDevice", index)

    def facts(self) -> DeviceFacts:
        driver, free, total = c_int(), c_size_t(), c_size_t()
        self._call("cudaDriverGetVersion", byref(driver))
        self._call("cudaMemGetInfo", byref(free), byref(total))
        return DeviceFacts(
            capability=(self._attribute(_MAJOR), self._attribute(_MINOR)),
            driver=driver.value,
            free_bytes=free.value,
            total_bytes=total.value,
        )

    def allocate(self, size_bytes: int) -> int:
        self._device_memory.append(self._made("cudaMalloc", size_bytes))
        return self._device_memory[-1]

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        address = self._made("cudaHostAlloc", size_bytes, _MAPPED)
        self._host_memory.append(address)
        memory: Any = (ctypes.c_char * size_bytes).from_address(address)
        array = np.frombuffer(memory, dtype).reshape(shape)
        array[...] = 0
        return Pinned(address=address, array=array)

    def stream(self) -> Stream:
        self._streams.append(self._made("cudaStreamCreateWithFlags", _NON_BLOCKING))
        return self._streams[-1]

    def event(self) -> Event:
        self._events.append(self._made("cudaEventCreateWithFlags", _NO_TIMING | _BLOCKING_SYNC))
        return self._events[-1]

    def copy(self, to: int, source: int, size_bytes: int, stream: Stream) -> None:
        self._call("cudaMemcpyAsync", to, source, size_bytes, _TO_DEVICE_OR_BACK, stream)

    def copy_columns(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, stream: Stream
    ) -> None:
        self._call("cudaMemcpy2DAsync", to, to_pitch, source, pitch, width, rows, _TO_DEVICE_OR_BACK, stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Captured:
        graph = c_void_p()
        self._call("cudaStreamBeginCapture", stream, _GLOBAL)
        try:
            work()
        except BaseException:
            self._cudart.cudaStreamEndCapture(stream, byref(graph))
            self._cudart.cudaGetLastError()
            raise
        self._call("cudaStreamEndCapture", stream, byref(graph))
        try:
            self._captured.append(self._made("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)
        return self._captured[-1]

    def replay(self, captured: Captured, stream: Stream) -> None:
        self._call("cudaGraphLaunch", captured, stream)

    def fill(self, address: int, value: int, size_bytes: int, stream: Stream) -> None:
        self._call("cudaMemsetAsync", address, value, size_bytes, stream)

    def record(self, event: Event, stream: Stream) -> None:
        self._call("cudaEventRecord", event, stream)

    def is_reached(self, event: Event) -> bool:
        status: int = self._cudart.cudaEventQuery(event)
        if status not in (0, _NOT_READY):
            raise self._fault("cudaEventQuery", status)
        if status:
            self._cudart.cudaGetLastError()
        return status == 0

    def wait(self, event: Event) -> None:
        self._call("cudaEventSynchronize", event)

    def close(self) -> None:
        for name, handles in (
            ("cudaGraphExecDestroy", self._captured),
            ("cudaEventDestroy", self._events),
            ("cudaStreamDestroy", self._streams),
            ("cudaFreeHost", self._host_memory),
            ("cudaFree", self._device_memory),
        ):
            while handles:
                self._call(name, handles.pop())

    def _attribute(self, number: int) -> int:
        value = c_int()
        self._call("cudaDeviceGetAttribute", byref(value), number, self._index)
        return value.value

    def _made(self, function: str, *arguments: Any) -> int:
        handle = c_void_p()
        self._call(function, byref(handle), *arguments)
        assert handle.value is not None, function
        return handle.value

    def _call(self, function: str, *arguments: Any) -> None:
        status: int = getattr(self._cudart, function)(*arguments)
        if status:
            raise self._fault(function, status, *(one for one in arguments if isinstance(one, int)))

    def _fault(self, function: str, status: int, *arguments: int) -> EngineFault:
        self._cudart.cudaGetLastError()  # else the provider's next launch on this thread reports it as its own
        words = self._cudart.cudaGetErrorString(status).decode()
        return EngineFault(f"{function}({', '.join(map(str, arguments))}) failed: {words} (CUDA error {status})")


def load_libraries() -> None:
    """The CUDA libraries, from the loader's own places or from the vendor's wheels. Raises ConfigError."""
    for name in LIBRARIES:
        problems = []
        for place in (name, *_in_wheels(name)):
            try:
                ctypes.CDLL(place, ctypes.RTLD_GLOBAL)
                break
            except OSError as error:
                problems.append(str(error))
        else:
            raise ConfigError(
                f"{name} cannot be loaded: {'; '.join(problems)}; `pip install -r requirements/cuda.txt` brings CUDA 13"
            )


def _in_wheels(name: str) -> list[str]:
    package = find_spec("nvidia")
    folders = package.submodule_search_locations if package and package.submodule_search_locations else []
    return [str(path) for folder in folders if (path := Path(folder, _WHEELS, name)).is_file()]


def _bound(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, arguments in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    library.cudaGetErrorString.argtypes, library.cudaGetErrorString.restype = (c_int,), c_char_p
    return library
