"""One table from error codes to HTTP statuses and WebSocket close codes, and the bodies that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi.responses import JSONResponse

from engines.messages import Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorKind:
    status: int
    kind: str  # OpenAI's error type
    close: int | None = None  # closes the socket; None leaves it open
    ends: int = 1008  # closes a socket that carries one utterance only


_INVALID = "invalid_request_error"
_SPARES_OTHERS = ("overloaded", "not_ready", "draining")  # nothing is wrong with what goes on
KINDS: dict[str, ErrorKind] = {
    "invalid_request": ErrorKind(status=400, kind=_INVALID),
    "invalid_parameter": ErrorKind(status=400, kind=_INVALID),
    "unknown_voice": ErrorKind(status=400, kind=_INVALID),
    "unknown_model": ErrorKind(status=404, kind=_INVALID),
    "unknown_dictionary": ErrorKind(status=400, kind=_INVALID),
    "invalid_text": ErrorKind(status=400, kind=_INVALID),
    "unspeakable_text": ErrorKind(status=400, kind=_INVALID),
    "text_too_long": ErrorKind(status=413, kind=_INVALID, ends=1009),
    "unknown_event": ErrorKind(status=400, kind=_INVALID),
    "invalid_sequence": ErrorKind(status=400, kind=_INVALID),
    "empty_input": ErrorKind(status=400, kind=_INVALID),
    "too_many_input_events": ErrorKind(status=429, kind="rate_limit_error"),
    "too_many_contexts": ErrorKind(status=429, kind="rate_limit_error"),
    "invalid_message": ErrorKind(status=400, kind=_INVALID, close=1007),
    "message_too_big": ErrorKind(status=413, kind=_INVALID, close=1009, ends=1009),
    "invalid_http": ErrorKind(status=400, kind=_INVALID),
    "head_too_big": ErrorKind(status=431, kind=_INVALID),
    "body_too_big": ErrorKind(status=413, kind=_INVALID),
    "body_timeout": ErrorKind(status=408, kind=_INVALID),
    "unsupported_data": ErrorKind(status=400, kind=_INVALID, close=1003),
    "idle_timeout": ErrorKind(status=408, kind=_INVALID, close=1008),
    "input_timeout": ErrorKind(status=408, kind=_INVALID),
    "invalid_signature": ErrorKind(status=401, kind="authentication_error"),
    "range_not_satisfiable": ErrorKind(status=416, kind=_INVALID),
    "invalid_api_key": ErrorKind(status=401, kind="authentication_error", close=1008),
    "origin_not_allowed": ErrorKind(status=403, kind="permission_error", close=1008),
    "host_not_allowed": ErrorKind(status=421, kind="permission_error", close=1008),
    "upgrade_required": ErrorKind(status=426, kind=_INVALID),
    "read_only": ErrorKind(status=403, kind="permission_error"),
    "quota_exceeded": ErrorKind(status=429, kind="rate_limit_error"),
    "not_found": ErrorKind(status=404, kind=_INVALID),
    "method_not_allowed": ErrorKind(status=405, kind=_INVALID),
    "overloaded": ErrorKind(status=503, kind="server_error", close=1013, ends=1013),
    "not_ready": ErrorKind(status=503, kind="server_error", close=1013, ends=1013),
    "draining": ErrorKind(status=503, kind="server_error", close=1012, ends=1012),
    "deadline_exceeded": ErrorKind(status=503, kind="server_error", ends=1011),
    "engine_lost": ErrorKind(status=503, kind="server_error", ends=1011),
    "engine_fault": ErrorKind(status=500, kind="server_error", ends=1011),
    "internal_error": ErrorKind(status=500, kind="server_error", close=1011, ends=1011),
}


class ApiError(Exception):
    """What a caller is told: a code of KINDS, a message, the field at fault, when to come back."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.param, self.retry_after_s = code, message, param, retry_after_s

    @classmethod
    def of(cls, failed: Failed, *, param: str | None = None) -> ApiError:
        """What ended an utterance."""
        return cls(failed.code, failed.message, param=param, retry_after_s=failed.retry_after_s)

    @property
    def kind(self) -> ErrorKind:
        return KINDS.get(self.code, KINDS["internal_error"])

    def close_code(self, *, others_live: bool) -> int | None:
        """Of a socket that carries many utterances; None leaves it open."""
        return None if others_live and self.code in _SPARES_OTHERS else self.kind.close

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {"message": self.message, "type": self.kind.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self, request_id: str | None = None) -> JSONResponse:
        headers = {"x-request-id": request_id} if request_id else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        return JSONResponse(self.body(), status_code=self.kind.status, headers=headers)
