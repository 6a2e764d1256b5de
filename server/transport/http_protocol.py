"""HTTP/1 on one connection: uvicorn's on h11, with bounds on what a client may send before it is served.

A head is complete in time or the connection closes, the first one and every one after it. What is not HTTP is answered
with our error body, and the connection stays open for a moment: closing over unread bytes would take the answer away.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.errors import ApiError
from server.transport.http_heads import BoundedConnection
from server.transport.idle_connections import IdleConnections
from server.transport.paced_reads import PacedReads

_LINGER_S = 1.0


class HttpProtocol(H11Protocol):
    def __init__(
        self,
        *args: Any,
        idle_connections: IdleConnections,
        max_head_bytes: int,
        head_timeout_s: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.conn: BoundedConnection = BoundedConnection(max_head_bytes)
        self._idle_connections, self._head_timeout_s = idle_connections, head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._rejected = False  # refused: what still comes is not read

    def connection_made(self, transport: Any) -> None:
        self._reads = PacedReads(transport, self._take)
        super().connection_made(self._reads)  # type: ignore[arg-type]
        self._watch_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._reads.received(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._watch_for_head()

    def leave(self) -> None:
        """Closes a connection that waits for a request."""
        self._stop_watching()
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self.conn.fault or ApiError("invalid_http", msg))

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_watching()
        self._rejected = True
        self.transport = self._reads.bare
        super().handle_websocket_upgrade(event)

    def _should_upgrade(self) -> bool:
        """Other upgrades, h2c among them, are not taken; the request is served as it is."""
        scope = self.scope
        is_handshake = scope["method"] == "GET" and scope["http_version"] == "1.1"
        return is_handshake and self._get_upgrade() == b"websocket"

    def _take(self, data: bytes) -> None:
        if self._rejected or self.conn.their_state in (h11.MUST_CLOSE, h11.CLOSED):
            return  # nothing may follow the last request
        super().data_received(data)
        if not self.transport.is_closing() and not self._rejected:
            self._watch_for_head()

    def _watch_for_head(self) -> None:
        if self.transport.get_protocol() is not self or (self.cycle is not None and not self.cycle.response_complete):
            self._stop_watching()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_timeout_s, self._head_is_late)
            self._idle_connections.enter(self, self.connections)

    def _stop_watching(self) -> None:
        self._idle_connections.left(self)
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._refuse(ApiError("body_timeout", f"the head did not arrive within {self._head_timeout_s:g} s"))
        else:
            self.leave()

    def _refuse(self, error: ApiError) -> None:
        self._stop_watching()
        self._rejected = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # in the middle of an answer
            return
        body, status = json.dumps(error.body()).encode(), error.kind.status
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        response = h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode())
        parts = [self.conn.send(one) or b"" for one in (response, h11.Data(data=body), h11.EndOfMessage())]
        self.transport.write(b"".join(parts))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_S, self.transport.close)
