"""A connection's transport that hands on what was read in small pieces, one an iteration of the event loop.

One read brings up to 256 KiB: ten thousands of frames or chunks, which a parser would take in one go while everything
else waits. What is not handed on yet keeps the socket from being read, so at most one read is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

PIECE_BYTES = 2_048  # at most 350 frames or chunks: a few milliseconds of parsing


class PacedReads:
    """Stands for the transport: everything but reading is the transport's own."""

    def __init__(self, transport: Any, take: Callable[[bytes], None]) -> None:
        self._transport, self._take = transport, take
        self._unread = bytearray()
        self._handle: asyncio.Handle | None = None
        self._paused = False  # by the protocol
        self._socket_paused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def bare(self) -> Any:
        return self._transport

    def received(self, data: bytes) -> None:
        """`data` has been read: the protocol's `data_received`."""
        if not self._unread and not self._paused and len(data) <= PIECE_BYTES:
            self._take(data)
            return
        self._unread += data
        self._go_on()

    def pause_reading(self) -> None:
        self._paused = True
        self._pause_socket(True)

    def resume_reading(self) -> None:
        self._paused = False
        self._go_on()

    def _go_on(self) -> None:
        if self._unread and not self._paused and self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._hand_on)
        self._pause_socket(self._paused or bool(self._unread))

    def _hand_on(self) -> None:
        self._handle = None
        if self._transport.is_closing():
            self._unread.clear()
        elif self._unread and not self._paused:
            piece = bytes(self._unread[:PIECE_BYTES])
            del self._unread[:PIECE_BYTES]
            self._take(piece)
            self._go_on()

    def _pause_socket(self, paused: bool) -> None:
        if paused != self._socket_paused and not self._transport.is_closing():
            self._socket_paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
