"""What callers may send. Compatibility bodies ignore fields they do not know; our own messages refuse them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError

from server.audio import DEFAULT_RATE_HZ, OFFERED_HZ
from server.errors import ApiError
from server.utterance import MAX_SEED

Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
Speed = Annotated[float, Field(ge=0.25, le=4.0)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StartMessage(_Message):
    type: Literal["start"]
    voice: StrictStr | None = None
    seed: Seed | None = None
    speed: Speed = 1.0
    sample_rate: StrictInt = DEFAULT_RATE_HZ
    temperature: Temperature | None = None
    words: StrictBool = True


class AppendMessage(_Message):
    type: Literal["append"]
    text: StrictStr


class FlushMessage(_Message):
    type: Literal["flush"]


class EndMessage(_Message):
    type: Literal["end"]


class CancelMessage(_Message):
    type: Literal["cancel"]


ClientMessage = StartMessage | AppendMessage | FlushMessage | EndMessage | CancelMessage
_CLIENT_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def client_message(text: str) -> ClientMessage:
    try:
        return _CLIENT_MESSAGE.validate_json(text)
    except ValidationError as error:
        raise described(error, "invalid_message" if _is_broken(error) else "invalid_parameter") from error


def check_rate(rate_hz: int) -> int:
    if rate_hz not in OFFERED_HZ:
        offered = ", ".join(map(str, OFFERED_HZ))
        raise ApiError(
            "invalid_parameter", f"sample_rate {rate_hz} is not offered; valid: {offered}", param="sample_rate"
        )
    return rate_hz


def described(error: ValidationError, code: str) -> ApiError:
    """The first thing wrong: field, value, and what would be right."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("start", "append", "flush", "end", "cancel"))
    value = first.get("input")
    shown = repr(value) if not isinstance(value, dict | list) else type(value).__name__
    shown = shown if len(shown) <= 60 else shown[:60] + "..."
    return ApiError(code, f"{place or 'message'}: {first['msg']}, got {shown}", param=place or None)


def _is_broken(error: ValidationError) -> bool:
    return any(one["type"] == "json_invalid" for one in error.errors())
