"""How many requests and sockets are served at once. Those beyond the limit are told so, in their own dialect.

Health, readiness and metrics need no place: a server that looks dead is killed with all its streams.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import ApiError
from server.http.connection_limit import ConnectionPermit
from server.state import state_of

_ALWAYS = ("/health", "/ready", "/metrics")


class Connections:
    def __init__(self, app: ASGIApp, refusal: Callable[[Scope, ApiError], ASGIApp]) -> None:
        """`refusal` answers a request that goes no further; a WebSocket is refused behind its door, in JSON, except
        during a drain."""
        self._app, self._refusal = app, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "HEAD":  # the answer to GET, of which the web server leaves the body away
            scope = {**scope, "method": "GET", "is_head": True}
        if scope["type"] not in ("http", "websocket") or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        state = state_of(connection)
        permit = connection.state.permit = ConnectionPermit(
            state.connection_limit, keyless=not state.access.knows(connection)
        )
        try:
            if scope["type"] == "http":
                permit.check()
            else:
                state.shutdown.check()  # before the handshake: a proxy can try another server
            await self._app(scope, receive, send)
        except ApiError as error:
            await self._refusal(scope, error)(scope, receive, send)
        finally:
            permit.release()
