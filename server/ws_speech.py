"""`/v1/audio/speech/ws`: one path, two subprotocols. The door is here; each protocol has a file of its own."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from server.errors import ApiError
from server.logs import get_logger
from server.state import State, state_of
from server.wire import Closed, Wire
from server.ws_nari import SUBPROTOCOL as NARI
from server.ws_nari import NariConnection
from server.ws_parlando import SUBPROTOCOL as PARLANDO
from server.ws_parlando import ParlandoConnection

router = APIRouter()
log = get_logger()


@router.websocket("/v1/audio/speech/ws")
async def speech(socket: WebSocket) -> None:
    """The first subprotocol that we know is spoken; a client that offers none speaks parlando.v1."""
    state = state_of(socket)
    offered = socket.scope.get("subprotocols", [])
    chosen = next((name for name in offered if name in (PARLANDO, NARI)), None)
    await socket.accept(subprotocol=chosen)
    wire = Wire(socket, state)
    state.metrics.sockets.inc()
    try:
        await _speak(socket, wire, state, chosen)
    except Closed:
        pass
    except Exception as error:
        log.exception("connection_failed", protocol=chosen or PARLANDO)
        await _refuse(wire, chosen, ApiError("internal_error", f"this is our fault: {type(error).__name__}"))
    finally:
        state.metrics.sockets.dec()


async def _speak(socket: WebSocket, wire: Wire, state: State, chosen: str | None) -> None:
    try:
        state.check_key(socket)
    except ApiError as error:
        state.metrics.refusals.labels(error.code).inc()
        await _refuse(wire, chosen, error)
        return
    connection = NariConnection(wire, state) if chosen == NARI else ParlandoConnection(wire, state)
    await connection.run()


async def _refuse(wire: Wire, chosen: str | None, error: ApiError) -> None:
    try:
        if chosen == NARI:
            await NariConnection.refuse(wire, error)
        last: dict[str, object] = {"type": "error", "code": error.code, "message": error.message}
        await wire.close(error.kind.close or error.kind.ends, error.code, last=last)
    except Closed:
        pass
