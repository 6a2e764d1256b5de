"""The life of every WebSocket: accept, authenticate, serve, and report an error in the protocol's own form."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import WebSocket

from server.errors import ApiError, internal_error
from server.http.connection_limit import permit_of
from server.http.websocket import Closed, WebSocketChannel
from server.logs import get_logger
from server.state import state_of

log = get_logger()


class Connection(Protocol):
    async def run(self) -> None:
        """Serves until the connection ends."""
        ...


async def serve_websocket(
    socket: WebSocket,
    protocol: str,
    connect: Callable[[WebSocketChannel], Connection],
    refuse: Callable[[WebSocketChannel, ApiError], Awaitable[None]],
    *,
    subprotocol: str | None = None,
) -> None:
    """`connect` may raise ApiError: no access, or a bad request."""
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
