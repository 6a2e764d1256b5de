"""`/v1/audio/speech/ws`: one path, two subprotocols. Each has a file of its own."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from server.errors import ApiError
from server.state import state_of
from server.wire import Wire
from server.ws_door import Connection, attend
from server.ws_nari import SUBPROTOCOL as NARI
from server.ws_nari import NariConnection
from server.ws_parlando import SUBPROTOCOL as PARLANDO
from server.ws_parlando import ParlandoConnection

router = APIRouter()


@router.websocket("/v1/audio/speech/ws")
async def speech(socket: WebSocket) -> None:
    """The first subprotocol that we know is spoken; a client that offers none speaks parlando.v1."""
    state = state_of(socket)
    offered = socket.scope.get("subprotocols", [])
    chosen = next((name for name in offered if name in (PARLANDO, NARI)), None)
    spoken = NariConnection if chosen == NARI else ParlandoConnection

    def connect(wire: Wire) -> Connection:
        state.check_key(socket)
        return spoken(wire, state)

    async def refuse(wire: Wire, error: ApiError) -> None:
        await spoken.refuse(wire, error)

    await attend(socket, chosen or PARLANDO, connect, refuse, subprotocol=chosen)
