"""`/v1/audio/speech/ws`: one path, two subprotocols. Each has a file of its own."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from server.http.websocket import Connection, WebSocketChannel, offered, serve_websocket
from server.protocols.nari import errors as nari_errors
from server.protocols.nari.socket import SUBPROTOCOL as NARI
from server.protocols.nari.socket import NariConnection
from server.protocols.parlando import errors as parlando_errors
from server.protocols.parlando.socket import SUBPROTOCOL as PARLANDO
from server.protocols.parlando.socket import ParlandoConnection
from server.state import state_of

router = APIRouter()


@router.websocket("/v1/audio/speech/ws")
async def speech(socket: WebSocket) -> None:
    """Speaks the first subprotocol that is known; a client that offers none speaks parlando.v1."""
    state = state_of(socket)
    chosen = offered(socket, PARLANDO, NARI)

    def connect(channel: WebSocketChannel) -> Connection:
        state.check_key(socket)
        return NariConnection(channel, state) if chosen == NARI else ParlandoConnection(channel, state)

    refuse = nari_errors.refuse if chosen == NARI else parlando_errors.refuse
    await serve_websocket(socket, chosen or PARLANDO, connect, refuse, subprotocol=chosen)
