"""Errors in ElevenLabs' words, over HTTP and on its WebSockets; `server/errors.py` has the names and statuses."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from server.errors import ApiError
from server.http.websocket import WebSocketChannel

_PATHS = ("/v1/text-to-speech", "/v1/voices", "/v2/voices", "/v1/user", "/v1/pronunciation-dictionaries")


class Invalid(ApiError):
    """Does not fit its model: over HTTP 422 with ElevenLabs' list of details."""

    def __init__(self, place: str, error: ValidationError) -> None:
        first = error.errors()[0]
        super().__init__("invalid_parameter", f"{'.'.join(map(str, first['loc'])) or 'message'}: {first['msg']}")
        self.details = [{"type": one["type"], "loc": [place, *one["loc"]], "msg": one["msg"]} for one in error.errors()]


def answers(connection: HTTPConnection) -> bool:
    """Whether an error of this request is told in ElevenLabs' words: by its path, else by its client's key."""
    path = connection.scope["path"]
    return path.startswith(_PATHS) or ("xi-api-key" in connection.headers and not path.startswith("/v1/audio/"))


def error_response(error: ApiError, request_id: str) -> JSONResponse:
    headers = {"request-id": request_id, "x-request-id": request_id, **error.retry_headers}
    if isinstance(error, Invalid):
        return JSONResponse({"detail": error.details}, status_code=422, headers=headers)
    status, name = error.kind.elevenlabs or (error.kind.status, error.code)
    return JSONResponse({"detail": {"status": name, "message": error.message}}, status_code=status, headers=headers)


def error_message(error: ApiError) -> dict[str, object]:
    return {
        "error": error.kind.elevenlabs_socket or error.code,
        "message": error.message,
        "code": error.final_close,
    }


async def refuse(channel: WebSocketChannel, error: ApiError) -> None:
    """`error` and its close. Raises Closed."""
    await channel.close(error.final_close, error.code, last=error_message(error))
