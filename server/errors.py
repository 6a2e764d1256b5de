"""One table from error codes to HTTP statuses and WebSocket close codes, and the bodies that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    status: int
    kind: str  # OpenAI's error type
    close: int | None = None  # closes the socket; None leaves it open


KINDS: dict[str, ErrorKind] = {
    "invalid_request": ErrorKind(status=400, kind="invalid_request_error"),
    "invalid_parameter": ErrorKind(status=400, kind="invalid_request_error"),
    "unknown_voice": ErrorKind(status=400, kind="invalid_request_error"),
    "unknown_model": ErrorKind(status=404, kind="invalid_request_error"),
    "invalid_text": ErrorKind(status=400, kind="invalid_request_error"),
    "unspeakable_text": ErrorKind(status=400, kind="invalid_request_error"),
    "text_too_long": ErrorKind(status=413, kind="invalid_request_error"),
    "invalid_message": ErrorKind(status=400, kind="invalid_request_error", close=1007),
    "unsupported_data": ErrorKind(status=400, kind="invalid_request_error", close=1003),
    "invalid_api_key": ErrorKind(status=401, kind="authentication_error", close=1008),
    "not_found": ErrorKind(status=404, kind="invalid_request_error"),
    "method_not_allowed": ErrorKind(status=405, kind="invalid_request_error"),
    "overloaded": ErrorKind(status=503, kind="server_error"),
    "not_ready": ErrorKind(status=503, kind="server_error", close=1013),
    "engine_fault": ErrorKind(status=500, kind="server_error"),
    "internal_error": ErrorKind(status=500, kind="server_error"),
}


class ApiError(Exception):
    """What a caller is told: a code of KINDS, a message, the field at fault, when to come back."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.param, self.retry_after_s = code, message, param, retry_after_s

    @property
    def kind(self) -> ErrorKind:
        return KINDS.get(self.code, KINDS["internal_error"])

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {"message": self.message, "type": self.kind.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self, request_id: str | None = None) -> JSONResponse:
        headers = {"x-request-id": request_id} if request_id else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        return JSONResponse(self.body(), status_code=self.kind.status, headers=headers)
