"""Everything the engine refuses, as one tree.

    ParlandoError
    ├── ConfigError          a setting is out of range
    ├── BundleError          a model folder does not match its manifest
    ├── RequestError         the caller's fault, answered to the caller
    │   ├── UnknownVoice
    │   ├── TextError        (with UnspeakableText and TextTooLong)
    │   └── BadParameter
    ├── Overloaded           one more stream could not be served in time; carries retry_after_s
    └── EngineFault          ours: a step failed, an invariant broke
        └── IntegrityError   free + leased != total

`code` is stable and goes over the wire; `server/errors.py` maps it to HTTP status and WebSocket close code.
"""

from __future__ import annotations

LEAST_RETRY_S = 1.0  # `Retry-After` counts whole seconds, and sooner no stream is likely to have ended


class ParlandoError(Exception):
    code = "internal_error"


class ConfigError(ParlandoError):
    code = "invalid_config"


class BundleError(ParlandoError):
    code = "invalid_bundle"


class RequestError(ParlandoError):
    code = "invalid_request"


class UnknownVoice(RequestError):
    code = "unknown_voice"


class TextError(RequestError):
    code = "invalid_text"


class UnspeakableText(TextError):
    code = "unspeakable_text"


class TextTooLong(TextError):
    code = "text_too_long"


class BadParameter(RequestError):
    code = "invalid_parameter"


class Overloaded(ParlandoError):
    code = "overloaded"

    def __init__(self, message: str, retry_after_s: float = LEAST_RETRY_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineFault(ParlandoError):
    code = "engine_fault"


class IntegrityError(EngineFault):
    code = "integrity_error"


def error_of(code: str, message: str, retry_after_s: float | None = None) -> ParlandoError:
    """What a `Failed` event says, as the error it stands for."""
    if code == Overloaded.code:
        return Overloaded(message, retry_after_s or LEAST_RETRY_S)
    kinds = (RequestError, UnknownVoice, TextError, UnspeakableText, TextTooLong, BadParameter, IntegrityError)
    return next((kind for kind in kinds if kind.code == code), EngineFault)(message)
