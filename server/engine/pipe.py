"""Frames over a socket pair between server and engine: four bytes of length, then what one end tells the other.

Commands are pickled, since the options of a request are of any type. What the engine tells is in MessagePack: a chunk
takes a microsecond at both ends together, a pickled one twenty-five. Both ends belong to one server, and neither reads
from a client. Neither end blocks: `EnginePipe` keeps what the server
has not read yet and sends it later, so that a stalled event loop never stalls a decode step.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import selectors
import socket
import struct
import time
from collections import deque
from typing import Any

import msgspec

from engines.families.base import ModelSpec
from engines.messages import Event

_LENGTH = struct.Struct("!I")
_READ_BYTES = 1 << 16
_MAX_READS = 16  # of one call: a server that writes without pause does not keep the engine from stepping


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first word of an engine: its networks are loaded, and this is its model."""

    spec: ModelSpec


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The last word of an engine that cannot go on."""

    traceback: str


Told = list[Event] | Ready | Fault
_told = msgspec.msgpack.Decoder(Told)
_tell = msgspec.msgpack.Encoder()


def frame(message: Any) -> bytes:
    """Of the server's."""
    return _framed(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))


def _framed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


class EnginePipe:
    """The engine's end. `fileno` is readable when messages have come, and when there is room for unsent ones."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._ready = selectors.DefaultSelector()
        self._ready.register(end, selectors.EVENT_READ)
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0

    def fileno(self) -> int:
        number: int = self._ready.fileno()  # of the selectors of Linux and macOS
        return number

    def send(self, told: Told) -> None:
        """Sends what the socket takes now and keeps the rest. Raises OSError when the server is gone."""
        data = _framed(_tell.encode(told))
        self._unsent.append(memoryview(data))
        self.unsent_bytes += len(data)
        self.flush()

    def flush(self) -> None:
        """Sends more of what is kept. Raises OSError when the server is gone."""
        if not self._unsent:
            return
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                sent = self._end.send(self._unsent[0])
                self.unsent_bytes -= sent
                if sent == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        if self._ready.get_key(self._end).events != events:
            self._ready.modify(self._end, events)

    def wait(self, timeout_s: float) -> None:
        """Until `fileno` is readable."""
        self._ready.select(timeout_s)

    def flush_all(self, within_s: float) -> None:
        """Blocks. Raises TimeoutError, or OSError when the server is gone."""
        deadline_s = time.monotonic() + within_s
        while self._unsent:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"the server has not read {self.unsent_bytes} bytes within {within_s:g} s")
            self.wait(0.1)
            self.flush()

    def received(self) -> list[Any]:
        """The messages that have come since the last call. Raises EOFError or OSError when the server is gone."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MAX_READS):
                data = self._end.recv(_READ_BYTES)
                if not data:
                    raise EOFError
                self._received += data
                if len(data) < _READ_BYTES:
                    break
        messages, at = [], 0
        while len(self._received) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received, at)
            end = at + _LENGTH.size + length
            if end > len(self._received):
                break
            messages.append(pickle.loads(memoryview(self._received)[at + _LENGTH.size : end]))
            at = end
        del self._received[:at]
        return messages

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other end was first
            self._end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._ready.close()
        self._end.close()


async def receive(reader: asyncio.StreamReader) -> Told:
    """The server's end. Raises EOFError when the engine is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        told: Told = _told.decode(await reader.readexactly(length))
        return told
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError from error
