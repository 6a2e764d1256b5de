"""The body of OpenAI's `POST /v1/audio/speech`, with our extensions. Unknown fields are ignored, as OpenAI's clients
add new ones before servers know them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from engines.messages import LeadingSilence
from server.audio.formats import AudioFormat, Codec, codec_rates_hz, default_rate_hz
from server.errors import ApiError
from server.protocols.openai.instructions import effective_speed
from server.protocols.openai.signed_urls import MAX_VALID_S
from server.schemas import Instructions, Name, PitchSemitones, Sampled, Seed, Speed, Temperature, described, read_json
from server.speech.pronunciations import Pronunciations


class VoiceRef(BaseModel):
    id: StrictStr


class SpeechBody(Sampled):
    """Extensions: `timbre`, `pitch_semitones`, `language`, `seed`, `sample_rate`, `temperature`, `top_k`, `top_p`,
    `repetition_penalty`, `pronunciations`, `leading_silence`, `stream` (false: one answer of known length), and the
    formats that OpenAI does not name."""

    model_config = ConfigDict(extra="ignore")

    input: StrictStr
    model: StrictStr = "default"
    voice: StrictStr | VoiceRef | None = None
    stream: bool = True
    response_format: Codec = Codec.MP3
    stream_format: Literal["audio", "sse"] = "audio"
    speed: Speed = 1.0
    timbre: StrictStr | None = None
    pitch_semitones: PitchSemitones = 0.0
    instructions: Instructions | None = None
    language: Name | None = None
    seed: Seed | None = None
    sample_rate: StrictInt | None = None
    temperature: Temperature | None = None
    leading_silence: LeadingSilence | None = None
    pronunciations: Pronunciations | None = None

    @property
    def voice_id(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceRef) else self.voice

    @property
    def effective_speed(self) -> float:
        return effective_speed(self.speed, self.instructions)

    @property
    def form(self) -> AudioFormat:
        rate_hz = default_rate_hz(self.response_format) if self.sample_rate is None else self.sample_rate
        return AudioFormat(codec=self.response_format, rate_hz=rate_hz)


class UrlBody(SpeechBody):
    """What a signed URL is to say, and for how long it is valid."""

    expires_in_s: Annotated[StrictInt, Field(ge=1, le=MAX_VALID_S)] = 300

    @property
    def fields(self) -> dict[str, str]:
        """The parameters of the URL. Raises ApiError for what no URL carries."""
        if self.pronunciations is not None:
            raise ApiError("invalid_parameter", "a URL carries no pronunciations; use POST", param="pronunciations")
        given = self.model_dump(mode="json", exclude_unset=True, exclude={"expires_in_s", "voice"})
        voice = {} if self.voice_id is None else {"voice": self.voice_id}
        return {name: str(value) for name, value in {**given, **voice}.items()}


_Body = TypeVar("_Body", bound=SpeechBody)


def speech_body(raw: bytes) -> SpeechBody:
    """Raises ApiError."""
    return _parsed(SpeechBody, raw)


def url_body(raw: bytes) -> UrlBody:
    """Raises ApiError."""
    return _parsed(UrlBody, raw)


def _parsed(form: type[_Body], raw: bytes) -> _Body:
    try:
        body = form.model_validate(read_json(raw))
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error
    except ValueError as error:
        raise ApiError("invalid_request", f"the body is not JSON: {error}") from error
    return _checked(body)


def speech_query(fields: dict[str, str]) -> SpeechBody:
    """The same of a URL's parameters. Raises ApiError."""
    try:
        return _checked(SpeechBody.model_validate_strings(fields))
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


def _checked(body: _Body) -> _Body:
    offered = codec_rates_hz(body.response_format)
    if body.sample_rate is not None and body.sample_rate not in offered:
        valid = ", ".join(map(str, offered))
        message = f"sample_rate {body.sample_rate} is not offered for {body.response_format}; valid: {valid}"
        raise ApiError("invalid_parameter", message, param="sample_rate")
    if not body.input.strip():
        raise ApiError("unspeakable_text", "input is empty; send at least one word", param="input")
    return body
