"""One WebSocket: reads with the time the bytes came, writes whole messages one at a time and within a deadline.

It knows no protocol. Whoever uses it gets `Closed` once the connection is over, whoever ended it and at whatever
moment; after a close nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from fastapi import WebSocket, WebSocketDisconnect

from server.errors import ApiError
from server.state import State

_NOTICEABLE_S = 0.001  # a send that took longer had to wait for its reader


class Closed(Exception):
    """The connection is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    text: str
    received_s: float


class Wire:
    def __init__(self, socket: WebSocket, state: State) -> None:
        self._socket, self._state = socket, state
        self._writing = asyncio.Lock()
        self._closed = False
        self._active_s = state.clock()

    # -- in --------------------------------------------------------------------------------------------------------

    async def receive(self, idle_s: float | None = None) -> Received:
        """The next text message. Raises ApiError for one that no protocol of ours takes, and when all is idle."""
        message = await self._next_message(idle_s or self._state.settings.idle_s)
        received_s = self._active_s = self._state.clock()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            raise Closed
        text = message.get("text")
        if not isinstance(text, str):
            raise ApiError("unsupported_data", "binary messages are not understood; send JSON text")
        size, limit = len(text.encode(errors="surrogatepass")), self._state.settings.max_message_bytes
        if size > limit:
            raise ApiError("message_too_big", f"the message has {size} bytes, the limit is {limit}")
        return Received(text=text, received_s=received_s)

    async def _next_message(self, idle_s: float) -> dict[str, object]:
        """Idle is a socket on which neither side has said anything for `idle_s`."""
        receiving = asyncio.ensure_future(self._socket.receive())
        try:
            left_s = idle_s
            while left_s > 0:
                done, _ = await asyncio.wait([receiving], timeout=left_s)
                if done:
                    return dict(receiving.result())
                left_s = self._active_s + idle_s - self._state.clock()
        finally:
            receiving.cancel()
        raise ApiError("idle_timeout", f"nothing was sent for {idle_s:g} s; connect again when there is text")

    # -- out -------------------------------------------------------------------------------------------------------

    async def send(self, message: dict[str, object]) -> None:
        async with self._writing:
            await self._write(self._socket.send_json(message))

    async def send_audio(self, pcm: bytes, announce: dict[str, object] | None = None) -> None:
        """Binary, directly behind its announcement when it needs one."""
        async with self._writing:
            if announce is not None:
                await self._write(self._socket.send_json(announce))
            await self._write(self._socket.send_bytes(pcm))

    async def close(self, code: int, reason: str = "", last: dict[str, object] | None = None) -> None:
        """Says `last`, closes, and raises Closed."""
        async with self._writing:
            if last is not None:
                await self._write(self._socket.send_json(last))
            await self._write(self._socket.close(code, reason[:120]))
            self._closed = True
        self._state.metrics.ws_closed.labels(str(code)).inc()
        raise Closed

    async def _write(self, writing: Awaitable[None]) -> None:
        began_s = self._state.clock()
        try:
            async with asyncio.timeout(self._state.settings.send_timeout_s):
                if self._closed:
                    raise Closed
                await writing
        except (TimeoutError, RuntimeError, WebSocketDisconnect) as error:  # RuntimeError: starlette's closed socket
            self._closed = True
            raise Closed from error
        finally:
            if asyncio.iscoroutine(writing):
                writing.close()
        self._active_s = self._state.clock()
        if self._active_s - began_s > _NOTICEABLE_S:
            self._state.metrics.send_blocked_s.observe(self._active_s - began_s)
