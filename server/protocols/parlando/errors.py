"""Errors of `parlando.v1`: a message with the code of `server/errors.py`, and a close where the code has one."""

from __future__ import annotations

from server.errors import ApiError
from server.http.websocket import WebSocketChannel


def error_message(error: ApiError, name: str | None) -> dict[str, object]:
    fields = {"context": name, "param": error.param, "retry_after_s": error.retry_after_s}
    known = {field: value for field, value in fields.items() if value is not None}
    return {"type": "error", "code": error.code, "message": error.message, **known}


async def refuse(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=error_message(error, None))
