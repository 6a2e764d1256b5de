"""A WebSocket's frames: uvicorn's, with bounds on those that carry nothing.

Pings, pongs and continuations are answered or kept below every speech protocol, so a flood of them is handled here: a
socket that sends more than its share is closed with a reason. Messages need no bound: they wait for their reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from server.transport.idle_connections import IdleConnections
from server.transport.paced_reads import PacedReads
from server.transport.token_bucket import TokenBucket

FRAMES_PER_S = 64  # without a message's end
_BURST_FRAMES = 512
_CLOSE_S = 2.0  # for the client's part of a closing handshake


class WsProtocol(WebSocketsSansIOProtocol):
    def __init__(
        self, *args: Any, idle_connections: IdleConnections, clock: Callable[[], float] = time.monotonic, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._idle_connections = idle_connections
        self.close_timeout = _CLOSE_S
        self._frames = TokenBucket(FRAMES_PER_S, _BURST_FRAMES, clock)

    def connection_made(self, transport: Any) -> None:
        self._reads = PacedReads(transport, self._take)
        super().connection_made(self._reads)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        self._idle_connections.left(self)
        if self.conn.close_rcvd is None:  # uvicorn says 1005 then, as of a close without a code
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        super().connection_lost(exc)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":  # refused with an answer: uvicorn logs an error for it
            self.handshake_complete = True
        if self.close_sent and not self.transport.is_closing():
            self._idle_connections.enter(self, self.connections)

    def leave(self) -> None:
        """Closes without waiting for the client."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._reads.received(data)

    def handle_ping(self) -> None:
        if self._may_go_on():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        if self._may_go_on():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        if self._may_go_on():
            super().handle_cont(event)

    def _take(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake(self.conn.handshake_exc)

    def _may_go_on(self) -> bool:
        if self.close_sent:
            return False
        if not self._frames.take():
            return True
        self.conn.fail(1008, f"more than {FRAMES_PER_S} control or continuation frames a second")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        return False

    def _refuse_handshake(self, error: Exception) -> None:
        """The library has refused it, perhaps with an answer, and gives no event for it."""
        self.handshake_complete = self.close_sent = True
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            status, body = HTTPStatus.BAD_REQUEST, f"Failed to open a WebSocket connection: {error}.\n".encode()
            answer = b"HTTP/1.1 %d %s\r\nConnection: close\r\n" % (status, status.phrase.encode())
            answer += b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self.transport.write(answer)
        self.transport.close()
