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


def frame(message: Any) -> bytes:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class BlockingPipe:
    """The engine's end. One thread may send while another receives."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._end = end
        self._reader = end.makefile("rb")

    def send(self, message: Any) -> None:
        """Raises OSError when the server is gone."""
        self._end.sendall(frame(message))

    def receive(self) -> Any:
        """Raises EOFError when the server is gone."""
        return pickle.loads(self._exactly(_LENGTH.unpack(self._exactly(_LENGTH.size))[0]))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the other end was first
            self._end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._end.close()

    def _exactly(self, count: int) -> bytes:
        data = self._reader.read(count)
        if len(data) < count:
            raise EOFError
        return data


async def receive(reader: asyncio.StreamReader) -> Any:
    """The server's end. Raises EOFError when the engine is gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pickle.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError from error
