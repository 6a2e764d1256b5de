"""A device in plain Python with the rules of the pretended libraries, for tests that need no provider.

Fresh memory is 0xFF. Queued work runs as late as a program may rely on: at a wait for it or at a query. A range that
leaves its allocation is refused.
"""

from __future__ import annotations

import ctypes
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from engines.errors import EngineFault
from engines.runtime.device import Captured, DeviceFacts, Event, Pinned, Stream

_TOTAL_BYTES = 16 << 30


class FakeDevice:
    def __init__(self, total_bytes: int = _TOTAL_BYTES) -> None:
        self._total_bytes = total_bytes
        self._device: dict[int, NDArray[np.uint8]] = {}
        self._pinned: dict[int, NDArray[np.uint8]] = {}
        self._queues: list[deque[Callable[[], None]]] = [deque()]  # by stream; the first is the default one
        self._events: dict[Event, tuple[Stream, int, int]] = {}  # stream, times recorded, times reached
        self._captured: list[list[Callable[[], Any]]] = []
        self._capturing: tuple[Stream, list[Callable[[], Any]]] | None = None

    def facts(self) -> DeviceFacts:
        used = sum(map(len, self._device.values()))
        return DeviceFacts(
            capability=(9, 0), driver=13000, free_bytes=self._total_bytes - used, total_bytes=self._total_bytes
        )

    def allocate(self, size_bytes: int) -> int:
        if self._capturing is not None:
            raise EngineFault(f"allocate({size_bytes}) failed: a stream captures (CUDA error 900)")
        if size_bytes > self.facts().free_bytes:
            raise EngineFault(f"allocate({size_bytes}) failed: out of memory (CUDA error 2)")
        memory = np.full(size_bytes, 0xFF, np.uint8)
        self._device[memory.ctypes.data] = memory
        return memory.ctypes.data

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pinned:
        memory = np.zeros(math.prod(shape) * np.dtype(dtype).itemsize, np.uint8)
        self._pinned[memory.ctypes.data] = memory
        return Pinned(address=memory.ctypes.data, array=memory.view(dtype).reshape(shape))

    def stream(self) -> Stream:
        self._queues.append(deque())
        return len(self._queues) - 1

    def event(self) -> Event:
        event = len(self._events) + 1
        self._events[event] = (0, 0, 0)
        return event

    def copy(self, to: int, source: int, size_bytes: int, stream: Stream) -> None:
        self._check(to, size_bytes)
        self._check(source, size_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(to, source, size_bytes))

    def copy_columns(
        self, to: int, to_pitch: int, source: int, pitch: int, width: int, rows: int, stream: Stream
    ) -> None:
        for at in range(rows):
            self.copy(to + at * to_pitch, source + at * pitch, width, stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Captured:
        self._capturing = stream, []
        nodes = self._capturing[1]
        try:
            work()
        finally:
            self._capturing = None
        self._captured.append(nodes)
        return len(self._captured) - 1

    def replay(self, captured: Captured, stream: Stream) -> None:
        for work in self._captured[captured]:
            self.enqueue(stream, work)

    def fill(self, address: int, value: int, size_bytes: int, stream: Stream) -> None:
        self._check(address, size_bytes)
        self.enqueue(stream, lambda: ctypes.memset(address, value, size_bytes))

    def enqueue(self, stream: Stream, work: Callable[[], Any]) -> None:
        """What a kernel or a replay would be."""
        if self._capturing is not None and self._capturing[0] == stream:
            self._capturing[1].append(work)
        else:
            self._queues[stream].append(work)

    def record(self, event: Event, stream: Stream) -> None:
        _, recorded, reached = self._events[event]
        number = recorded + 1
        self._events[event] = (stream, number, reached)
        self.enqueue(stream, lambda: self._reach(event, number))

    def is_reached(self, event: Event) -> bool:
        stream, recorded, reached = self._events[event]
        if reached < recorded:
            self._queues[stream].popleft()()
        _, recorded, reached = self._events[event]
        return reached == recorded

    def wait(self, event: Event) -> None:
        while not self.is_reached(event):
            pass

    def close(self) -> None:
        self._device.clear()
        self._pinned.clear()

    def _reach(self, event: Event, number: int) -> None:
        stream, recorded, _ = self._events[event]
        self._events[event] = (stream, recorded, number)

    def _check(self, address: int, size_bytes: int) -> None:
        for start, memory in (*self._device.items(), *self._pinned.items()):
            if start <= address and address + size_bytes <= start + len(memory):
                return
        raise EngineFault(f"{size_bytes} bytes at {address}: invalid argument (CUDA error 1)")
