"""What callers may send over HTTP, and how a refusal names field, value and remedy. Unknown fields are ignored here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from server.audio import DEFAULT_RATE_HZ, OFFERED_HZ
from server.errors import ApiError
from server.utterance import MAX_SEED

Seed = Annotated[StrictInt, Field(ge=0, le=MAX_SEED)]
Speed = Annotated[float, Field(ge=0.25, le=4.0)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


class VoiceRef(BaseModel):
    id: str


class SpeechBody(BaseModel):
    """OpenAI's `POST /v1/audio/speech`, with our extensions `seed`, `sample_rate` and `temperature`."""

    model_config = ConfigDict(extra="ignore")

    input: StrictStr
    model: StrictStr = "default"
    voice: StrictStr | VoiceRef | None = None
    response_format: Literal["pcm", "wav"] = "pcm"
    speed: Speed = 1.0
    seed: Seed | None = None
    sample_rate: StrictInt = DEFAULT_RATE_HZ
    temperature: Temperature | None = None
    stream_format: Literal["audio"] = "audio"
    instructions: str | None = None

    @property
    def voice_id(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceRef) else self.voice


def speech_body(payload: Any) -> SpeechBody:
    try:
        return SpeechBody.model_validate(payload)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


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
