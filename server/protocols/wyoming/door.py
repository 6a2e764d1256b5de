"""Wyoming's listening port, beside the web server: access, and the end of every connection.

The protocol carries no key. Where keys are configured, the operator names the one on whose account Wyoming's clients
speak; its quota then holds for all of them together.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from server.errors import ApiError
from server.http.connection_limit import ConnectionPermit
from server.http.websocket import Closed
from server.logs import get_logger
from server.protocols.wyoming.connection import WyomingConnection
from server.protocols.wyoming.events import EventChannel
from server.state import State

log = get_logger()


class WyomingDoor:
    def __init__(self, state: State, listener: socket.socket, version: str) -> None:
        self._state, self._listener, self._version = state, listener, version
        self.port: int = listener.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        limit = self._state.settings.max_message_bytes
        self._server = await asyncio.start_server(self._accept, sock=self._listener, limit=limit)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        channel = EventChannel(reader, writer, self._state)
        permit = ConnectionPermit(self._state.connection_limit, keyless=False)
        try:
            refusal = await self._serve(channel, permit)
            if refusal is not None:
                await self._tell(channel, refusal)
        finally:
            permit.release()
            await channel.close()
            self._connections.discard(task)

    async def _serve(self, channel: EventChannel, permit: ConnectionPermit) -> ApiError | None:
        """Returns what the client is to be told."""
        refusal = None
        try:
            permit.check()
            self._state.access.enter_as(self._state.settings.wyoming_key)
            await WyomingConnection(channel, self._state, self._version).run()
        except* Closed:
            pass
        except* ApiError as refused:
            refusal = _first(refused)
        except* Exception as failed:
            log.exception("connection_failed", protocol="wyoming")
            refusal = ApiError("internal_error", f"internal server error ({type(failed.exceptions[0]).__name__})")
        return refusal

    async def _tell(self, channel: EventChannel, error: ApiError) -> None:
        self._state.refused(error)
        with contextlib.suppress(Closed):
            await channel.send("error", {"text": error.message, "code": error.code})


def _first(refused: ExceptionGroup[ApiError]) -> ApiError:
    """Of errors in groups within groups."""
    found: BaseException = refused
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, ApiError)
    return found
