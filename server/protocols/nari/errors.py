"""Errors of `nari.speech.v1`: each is the last message, with the close that belongs to it."""

from __future__ import annotations

from server.errors import ApiError
from server.http.websocket import WebSocketChannel


async def refuse(channel: WebSocketChannel, error: ApiError, request_id: str | None = None) -> None:
    """`error` and its close. Raises Closed."""
    kind = error.kind
    kind_name = "generation_error" if kind.close_single == 1011 else "invalid_request_error"
    described = {"type": kind_name, "code": kind.nari or error.code, "message": error.message}
    message: dict[str, object] = {"type": "error", "request_id": request_id, "error": described}
    await channel.close(kind.close_single, "error", last=message)
