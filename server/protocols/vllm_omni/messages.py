"""What clients of vLLM-Omni's speech stream, and of SGLang-Omni's, send."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt, StrictStr, ValidationError

from server.audio.formats import AudioFormat, Codec, codec_rates_hz, default_rate_hz
from server.errors import ApiError
from server.schemas import Instructions, Name, Sampled, Seed, Speed, Temperature, described, read_json


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SessionConfig(_Lenient, Sampled):
    """Text is spoken as it comes, so that `split_granularity` has no effect."""

    type: Literal["session.config"]
    model: StrictStr | None = None
    voice: StrictStr | None = None
    speaker: StrictStr | None = None  # another name of `voice`
    response_format: Codec = Codec.PCM
    stream_audio: StrictBool = True
    speed: Speed = 1.0
    sample_rate: StrictInt | None = None
    word_timestamps: StrictBool = False
    language: Name | None = None
    instructions: Instructions | None = None
    seed: Seed | None = None
    temperature: Temperature | None = None

    @property
    def voice_id(self) -> str | None:
        return self.voice if self.voice is not None else self.speaker

    @property
    def form(self) -> AudioFormat:
        """Raises ApiError."""
        rate_hz = default_rate_hz(self.response_format) if self.sample_rate is None else self.sample_rate
        offered = codec_rates_hz(self.response_format)
        if rate_hz not in offered:
            valid = ", ".join(map(str, offered))
            message = f"sample_rate {rate_hz} is not offered for {self.response_format}; valid: {valid}"
            raise ApiError("invalid_parameter", message, param="sample_rate")
        return AudioFormat(codec=self.response_format, rate_hz=rate_hz)


class InputText(_Lenient):
    type: Literal["input.text"]
    text: StrictStr


class InputDone(_Lenient):
    """SGLang's `input.commit` is the same."""

    type: Literal["input.done", "input.commit"]


class InputCancel(_Lenient):
    type: Literal["input.cancel"]


class SessionClose(_Lenient):
    type: Literal["session.close"]


StreamMessage = SessionConfig | InputText | InputDone | InputCancel | SessionClose
_FORMS: dict[str, type[StreamMessage]] = {
    "session.config": SessionConfig,
    "input.text": InputText,
    "input.done": InputDone,
    "input.commit": InputDone,
    "input.cancel": InputCancel,
    "session.close": SessionClose,
}


def message_of(text: str) -> StreamMessage:
    """Raises ApiError."""
    try:
        payload: Any = read_json(text)
    except ValueError as error:
        raise ApiError("invalid_message", f"the message is not JSON: {error}") from error
    kind = payload.get("type") if isinstance(payload, dict) else None
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise ApiError("invalid_request", f"type {kind!r} is not known; valid: {', '.join(_FORMS)}", param="type")
    try:
        return form.model_validate(payload)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error
