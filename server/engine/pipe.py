"""Frames over a socket pair between server and engine: four bytes of length, then a pickle.

Both ends are ours and neither ever reads from a stranger. The engine blocks on its end; the server never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
_READ_BYTES = 1 << 16


def frame(message: Any) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class BlockingPipe:
    """The engine's end: it sends for as long as that takes, and receives only what is there."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._end = end
        self._received = bytearray()

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Any) -> None:
        """Raises OSError when the server is gone."""
        self._end.sendall(frame(message))

    def received(self) -> list[Any]:
        """The messages that have come since the last call. Raises EOFError or OSError when the server is gone."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._end.recv(_READ_BYTES, socket.MSG_DONTWAIT)
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
        self._end.close()


async def receive(reader: asyncio.StreamReader) -> Any:
    """The server's end. Raises EOFError when the engine is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError from error
