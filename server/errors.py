"""The one table of errors: code -> HTTP status, WebSocket close code, outcome in the metrics, names in other dialects.

`docs/errors.md` is generated from it. Protocols keep no table of their own; they only choose columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from fastapi.responses import JSONResponse

from engines.messages import Failed

Outcome = Literal["ok", "cancelled", "shed", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row. The dialect columns hold what a dialect says instead of the code and the status; None: the same."""

    status: int
    type: str  # of OpenAI's error object
    means: str
    close: int | None = None  # of a WebSocket with several utterances; None leaves it open
    close_single: int = 1008  # of a WebSocket that carries one utterance only
    closes_idle_only: bool = False  # `close` spares a socket on which other utterances are in progress
    outcome: Outcome = "error"
    elevenlabs: tuple[int, str] | None = None  # HTTP: status and name
    elevenlabs_socket: str | None = None
    nari: str | None = None


_INVALID, _AUTHENTICATION, _PERMISSION = "invalid_request_error", "authentication_error", "permission_error"
_RATE, _SERVER = "rate_limit_error", "server_error"
E = ErrorKind
KINDS: Final[dict[str, ErrorKind]] = {
    # the request
    "invalid_request": E(400, _INVALID, "the request does not fit its protocol or state"),
    "invalid_parameter": E(400, _INVALID, "a field is unknown or its value is not allowed"),
    "unknown_voice": E(400, _INVALID, "no such voice", elevenlabs=(404, "voice_not_found")),
    "cannot_clone": E(400, _INVALID, "the model makes no voices of recordings"),
    "unknown_model": E(404, _INVALID, "no such model", elevenlabs=(400, "model_not_found")),
    "unknown_dictionary": E(
        400, _INVALID, "no such dictionary", elevenlabs=(404, "pronunciation_dictionary_not_found")
    ),
    "invalid_text": E(400, _INVALID, "the text holds half a surrogate pair"),
    "unspeakable_text": E(400, _INVALID, "nothing in the text can be spoken", nari="empty_input"),
    "text_too_long": E(
        413,
        _INVALID,
        "more characters than `max_characters`",
        close_single=1009,
        elevenlabs=(400, "max_character_limit_exceeded"),
        nari="input_too_large",
    ),
    "unknown_event": E(400, _INVALID, "no such message type (nari.speech.v1)"),
    "invalid_sequence": E(400, _INVALID, "messages out of sequence (nari.speech.v1)"),
    "empty_input": E(400, _INVALID, "the text ended before any came (nari.speech.v1)"),
    "invalid_signature": E(401, _AUTHENTICATION, "the signed URL was changed or has expired"),
    "range_not_satisfiable": E(416, _INVALID, "the audio has no byte of the range"),
    # the transport
    "invalid_message": E(400, _INVALID, "a message is not JSON", close=1007),
    "unsupported_data": E(400, _INVALID, "a message is binary", close=1003, nari="invalid_request"),
    "message_too_big": E(
        413, _INVALID, "a message is over `max_message_bytes`", close=1009, close_single=1009, nari="input_too_large"
    ),
    "invalid_http": E(400, _INVALID, "not HTTP/1.1"),
    "head_too_big": E(431, _INVALID, "a request's head is over `max_head_bytes`"),
    "body_too_big": E(413, _INVALID, "a request's body is over `max_body_bytes`"),
    "body_timeout": E(408, _INVALID, "a request did not arrive within `body_timeout_s`"),
    "idle_timeout": E(
        408,
        _INVALID,
        "a WebSocket was silent for `idle_s`",
        close=1008,
        elevenlabs_socket="input_timeout_exceeded",
        nari="input_timeout",
    ),
    "input_timeout": E(
        408, _INVALID, "an utterance's text paused for `idle_s`", elevenlabs_socket="input_timeout_exceeded"
    ),
    "upgrade_required": E(426, _INVALID, "the path is a WebSocket"),
    "not_found": E(404, _INVALID, "there is nothing at this path"),
    "method_not_allowed": E(405, _INVALID, "the path has other methods"),
    # the client
    "invalid_api_key": E(401, _AUTHENTICATION, "the API key is missing or wrong", close=1008),
    "origin_not_allowed": E(403, _PERMISSION, "a web page of another origin", close=1008),
    "host_not_allowed": E(421, _PERMISSION, "the server does not answer under this name", close=1008),
    "read_only": E(403, _PERMISSION, "the dictionary or voice belongs to another client or to the operator"),
    "quota_exceeded": E(429, _RATE, "the key's or address's quota is used up"),
    "too_many_contexts": E(429, _RATE, "too many utterances on one WebSocket"),
    "too_many_input_events": E(429, _RATE, "too many appends (nari.speech.v1)"),
    # the server
    "overloaded": E(
        503,
        _SERVER,
        "no capacity now",
        close=1013,
        close_single=1013,
        closes_idle_only=True,
        outcome="shed",
        elevenlabs=(503, "system_busy"),
    ),
    "not_ready": E(
        503,
        _SERVER,
        "the engine is starting",
        close=1013,
        close_single=1013,
        closes_idle_only=True,
        outcome="shed",
    ),
    "draining": E(503, _SERVER, "the server is stopping", close=1012, close_single=1012, closes_idle_only=True),
    "cannot_resume": E(409, _INVALID, "a resumed utterance would not be the same audio here"),
    "deadline_exceeded": E(
        503, _SERVER, "no audio in time", close_single=1011, outcome="timeout", nari="generation_failed"
    ),
    "engine_lost": E(503, _SERVER, "the engine ended and is restarted", close_single=1011, nari="generation_failed"),
    "engine_fault": E(500, _SERVER, "the engine failed on this utterance", close_single=1011, nari="generation_failed"),
    "internal_error": E(500, _SERVER, "a fault of the server", close=1011, close_single=1011),
}


class ApiError(Exception):
    """What a client is told: a code of KINDS, a message, the field at fault, when to retry."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.param, self.retry_after_s = code, message, param, retry_after_s
        self.is_counted = False  # among the utterances

    @classmethod
    def of(cls, failed: Failed, *, param: str | None = None) -> ApiError:
        """What ended an utterance, which counts it."""
        found = cls(failed.code, failed.message, param=param, retry_after_s=failed.retry_after_s)
        found.is_counted = True
        return found

    @property
    def kind(self) -> ErrorKind:
        return KINDS.get(self.code, KINDS["internal_error"])

    def close_code(self, *, others_live: bool) -> int | None:
        """Of a socket that carries several utterances; None leaves it open."""
        return None if others_live and self.kind.closes_idle_only else self.kind.close

    @property
    def final_close(self) -> int:
        """Of such a socket when it ends with this error, whatever is in progress."""
        return self.kind.close or self.kind.close_single

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        error = {"message": self.message, "type": self.kind.type, "param": self.param, "code": self.code}
        return {"error": error}

    @property
    def retry_headers(self) -> dict[str, str]:
        return {} if self.retry_after_s is None else {"Retry-After": str(max(1, round(self.retry_after_s)))}

    def response(self, request_id: str | None = None) -> JSONResponse:
        headers = {"x-request-id": request_id} if request_id else {}
        return JSONResponse(self.body(), status_code=self.kind.status, headers=headers | self.retry_headers)


def internal_error(error: Exception) -> ApiError:
    """For the client; the log has the traceback."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return ApiError("internal_error", f"internal server error ({type(error).__name__})")
