"""Errors in Deepgram's words, over HTTP and on its WebSockets; `server/errors.py` has the names and statuses."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from server.errors import ApiError
from server.http.websocket import WebSocketChannel

_PATHS = ("/v1/speak", "/v2/speak")
_V2_CODES = {
    "invalid_message": "DATA-0000",
    "unsupported_data": "DATA-0000",
    "message_too_big": "BIG-0000",
    "text_too_long": "BIG-0000",
    "idle_timeout": "NET-0001",
    "input_timeout": "NET-0001",
}


def answers(connection: HTTPConnection) -> bool:
    return connection.scope["path"] in _PATHS


def error_response(error: ApiError, request_id: str) -> JSONResponse:
    body = {"err_code": error.code.upper(), "err_msg": error.message, "request_id": request_id}
    headers = {"dg-request-id": request_id, "x-request-id": request_id, **error.retry_headers}
    return JSONResponse(body, status_code=error.kind.status, headers=headers)


def v1_message(error: ApiError) -> dict[str, object]:
    return {"type": "Error", "code": error.code.upper(), "description": error.message}


def v2_message(error: ApiError) -> dict[str, object]:
    code = _V2_CODES.get(error.code, "MESSAGE-0000" if error.kind.status < 500 else "NET-0000")
    return {"type": "Error", "code": code, "description": f"{error.code}: {error.message}"}


async def refuse_v1(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=v1_message(error))


async def refuse_v2(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=v2_message(error))
