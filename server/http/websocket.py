"""One WebSocket, from accept to end: reads with the time the bytes came, writes whole messages one at a time and within
a deadline.

It knows no protocol. Every call raises `Closed` once the connection is over, whichever side ended it; after a close
nothing is written. What waits for a slow reader can be taken back: the web server waits for room
before it writes a message, never in the middle of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import WebSocket, WebSocketDisconnect

from server.errors import ApiError, internal_error
from server.http.connection_limit import permit_of
from server.logs import get_logger
from server.state import State, state_of
from server.transport.token_bucket import TokenBucket

log = get_logger()
_MESSAGES_PER_S, _BURST_MESSAGES = 500, 1_000  # those beyond wait, in their sender's buffers in the end
_CUT = 1006  # RFC 6455: closed by neither side
_TOLD_S = 1.0  # within which the web server tells how a connection ended
_NOTICEABLE_S = 0.001  # a send that took longer had to wait for its reader


class Closed(Exception):
    """The connection is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    text: str
    received_s: float


class Withdrawn(Exception):
    """Withdrawn while it waited for room."""


class Outgoing:
    """What one utterance sends. Once it is `withdrawn`, nothing of it that still waits for its reader is written."""

    def __init__(self) -> None:
        self.withdrawn = False
        self._writer: asyncio.Task[None] | None = None

    def withdraw(self) -> None:
        """At once: the writer may have been woken already and not have run yet."""
        if self._writer is not None and not self.withdrawn:
            self._writer.cancel()
        self.withdrawn = True

    async def write(self, writing: Coroutine[Any, Any, None], within_s: float) -> None:
        """Raises Withdrawn, or TimeoutError when the client read nothing for so long."""
        writer = self._writer = asyncio.current_task()
        assert writer is not None
        others = writer.cancelling()
        try:
            async with asyncio.timeout(within_s):
                await writing
        except asyncio.CancelledError:
            if self.withdrawn and writer.uncancel() <= others:
                raise Withdrawn from None
            raise
        finally:
            self._writer = None


class WebSocketChannel:
    def __init__(self, socket: WebSocket, state: State) -> None:
        self._socket, self._state = socket, state
        self._writing = asyncio.Lock()
        self._being_written: Outgoing | None = None
        self._leaving = False  # a close has been decided: what still waits is not written
        self._left = asyncio.Event()
        self._closed = False
        self._close_code: int | None = None  # the client's, or _CUT
        self._active_s = state.clock()
        self._pace = TokenBucket(_MESSAGES_PER_S, _BURST_MESSAGES, state.clock)

    # -- in --------------------------------------------------------------------------------------------------------

    async def receive(self, idle_s: float | None = None) -> Received:
        """The next text message, read once the engine has room for it. Raises ApiError for a message that no protocol
        takes, and for an idle connection."""
        if late_s := self._pace.take():
            await asyncio.sleep(late_s)
        await self._state.engine.room()
        message = await self._next_message(idle_s or self._state.settings.idle_s)
        received_s = self._state.clock()
        self._active_s = max(self._active_s, received_s)
        if message["type"] == "websocket.disconnect":
            self._closed, self._close_code = True, message["code"]  # type: ignore[assignment]
            raise Closed
        text = message.get("text")
        if not isinstance(text, str):
            raise ApiError("unsupported_data", "binary messages are not understood; send JSON text")
        size, limit = len(text.encode(errors="surrogatepass")), self._state.settings.max_message_bytes
        if size > limit:
            raise ApiError("message_too_big", f"the message has {size} bytes, the limit is {limit}")
        return Received(text=text, received_s=received_s)

    async def was_cut(self) -> bool:
        """Once it is over: neither side had closed it."""
        if self._leaving:
            return False
        with contextlib.suppress(TimeoutError, RuntimeError):  # RuntimeError: starlette has seen the end before us
            async with asyncio.timeout(_TOLD_S):
                while self._close_code is None:
                    message = await self._socket.receive()
                    self._close_code = message.get("code")
        return self._close_code in (None, _CUT)

    async def _next_message(self, idle_s: float) -> dict[str, object]:
        """A socket is idle when neither side has sent anything for `idle_s`."""
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

    async def send(self, message: dict[str, object], outgoing: Outgoing | None = None) -> bool:
        """Returns whether it was sent: not when `outgoing`, whose part it is, was withdrawn before there was room."""
        return await self._serialized(lambda: self._write(self._socket.send_json(message), outgoing or Outgoing()))

    async def send_audio(
        self, audio: bytes, outgoing: Outgoing, announce: Callable[[], dict[str, object] | None] = lambda: None
    ) -> bool:
        """Binary, directly behind its announcement when it needs one. Returns whether it was sent: not when it was
        withdrawn before there was room for it."""

        async def write() -> bool:
            if outgoing.withdrawn:
                return False
            announcement = announce()
            if announcement is not None:
                await self._write(self._socket.send_json(announcement), Outgoing())
            return await self._write(self._socket.send_bytes(audio), outgoing)

        return await self._serialized(write)

    async def close(self, code: int, reason: str = "", last: dict[str, object] | None = None) -> None:
        """Says `last`, closes, and raises Closed. What waits for a slow reader is dropped for it."""
        self._leaving = True
        if self._being_written is not None:
            self._being_written.withdraw()
        try:
            async with self._writing:
                if last is not None:
                    await self._write(self._socket.send_json(last), Outgoing())
                await self._write(self._socket.close(code, reason[:120]), Outgoing())
                self._closed = True
        finally:
            self._left.set()
        self._state.metrics.ws_closed.labels(str(code)).inc()
        raise Closed

    def keep_open_for(self, lead_s: float) -> None:
        """So long the client has something to play: it is not idle."""
        self._active_s = max(self._active_s, self._state.clock() + lead_s)

    async def _serialized(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """One write at a time. A write behind the decision to close waits for the close, then raises Closed."""
        async with self._writing:
            written = False if self._leaving else await write()
        if self._leaving:
            await self._left.wait()
            raise Closed
        return written

    async def _write(self, writing: Coroutine[Any, Any, None], outgoing: Outgoing) -> bool:
        """Returns whether it was written; not when it was withdrawn."""
        began_s = self._state.clock()
        try:
            if self._closed:
                raise Closed
            if outgoing.withdrawn:
                return False
            self._being_written = outgoing
            await outgoing.write(writing, self._state.settings.send_timeout_s)
        except Withdrawn:
            return False
        except (TimeoutError, RuntimeError, WebSocketDisconnect) as error:  # RuntimeError: starlette's closed socket
            self._closed = True
            raise Closed from error
        finally:
            self._being_written = None
            writing.close()
        now = self._state.clock()
        self._active_s = max(self._active_s, now)
        if now - began_s > _NOTICEABLE_S:
            self._state.metrics.send_blocked_s.observe(now - began_s)
        return True


class Connection(Protocol):
    async def run(self) -> None:
        """Serves until the connection ends."""
        ...


def offered(socket: WebSocket, *known: str) -> str | None:
    """The client's first subprotocol that is known. A browser that offers some ends a connection that selects none."""
    return next((name for name in socket.scope.get("subprotocols", ()) if name in known), None)


async def serve_websocket(
    socket: WebSocket,
    protocol: str,
    connect: Callable[[WebSocketChannel], Connection],
    refuse: Callable[[WebSocketChannel, ApiError], Awaitable[None]],
    *,
    subprotocol: str | None = None,
) -> None:
    """Accepts, authenticates, serves, and reports an error in the protocol's own form. `connect` may raise ApiError: no
    access, or a bad request."""
    state = state_of(socket)
    await socket.accept(subprotocol=subprotocol)
    channel = WebSocketChannel(socket, state)
    state.metrics.sockets.inc()
    try:
        permit_of(socket).check()
        await connect(channel).run()
    except Closed:
        pass
    except ApiError as error:
        state.refused(error)
        with contextlib.suppress(Closed):
            await refuse(channel, error)
    except Exception as error:
        log.exception("connection_failed", protocol=protocol)
        with contextlib.suppress(Closed):
            await refuse(channel, internal_error(error))
    finally:
        state.metrics.sockets.dec()
