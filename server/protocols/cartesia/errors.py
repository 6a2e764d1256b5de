"""Errors in Cartesia's words, over HTTP and on its WebSocket; `server/errors.py` has the names and statuses."""

from __future__ import annotations

import uuid

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

from server.errors import ApiError
from server.http.websocket import WebSocketChannel

_PATHS = ("/tts/", "/voices")


def answers(connection: HTTPConnection) -> bool:
    """Whether an error of this request is told in Cartesia's words: by its path, else by its client's version."""
    path = connection.scope["path"]
    return path.startswith(_PATHS) or ("cartesia-version" in connection.headers and not path.startswith("/v1/"))


def error_body(error: ApiError, request_id: str) -> dict[str, object]:
    return {
        "error_code": error.code,
        "title": error.kind.means,
        "message": error.message,
        "status_code": error.kind.status,
        "request_id": request_id,
    }


def error_response(error: ApiError, request_id: str) -> JSONResponse:
    headers = {"x-request-id": request_id, **error.retry_headers}
    return JSONResponse(error_body(error, request_id), status_code=error.kind.status, headers=headers)


def error_message(error: ApiError, context: str | None) -> dict[str, object]:
    """`error` is where clients of versions before 2026-03-01 look; every client looks for `context_id`, of none too."""
    body = error_body(error, f"req-{uuid.uuid4().hex}")
    return {"type": "error", "done": True, "context_id": context, "error": f"{body['title']}: {error.message}", **body}


async def refuse(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=error_message(error, None))
