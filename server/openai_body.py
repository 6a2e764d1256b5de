"""The body of OpenAI's `POST /v1/audio/speech`, with our extensions. Unknown fields are ignored, as OpenAI's clients
add new ones before servers know them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from engines.messages import LeadingSilence
from server.audio import DEFAULT_RATE_HZ
from server.audio.formats import AudioFormat, Codec, codec_rates_hz
from server.errors import ApiError
from server.json_body import read_json
from server.openai_instructions import effective_speed
from server.pronunciations import Pronunciations
from server.schemas import PitchSemitones, Seed, Speed, Temperature, described


class VoiceRef(BaseModel):
    id: StrictStr


class SpeechBody(BaseModel):
    """`timbre`, `pitch_semitones`, `seed`, `sample_rate`, `temperature`, `pronunciations` and `leading_silence` are
    ours, and so are the formats that OpenAI does not name."""

    model_config = ConfigDict(extra="ignore")

    input: StrictStr
    model: StrictStr = "default"
    voice: StrictStr | VoiceRef | None = None
    response_format: Codec = Codec.MP3
    stream_format: Literal["audio", "sse"] = "audio"
    speed: Speed = 1.0
    timbre: StrictStr | None = None
    pitch_semitones: PitchSemitones = 0.0
    instructions: StrictStr | None = Field(None, max_length=4_096)
    seed: Seed | None = None
    sample_rate: StrictInt = DEFAULT_RATE_HZ
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
        return AudioFormat(codec=self.response_format, rate_hz=self.sample_rate)


def speech_body(raw: bytes) -> SpeechBody:
    """Raises ApiError."""
    try:
        body = SpeechBody.model_validate(read_json(raw))
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error
    except ValueError as error:
        raise ApiError("invalid_request", f"the body is not JSON: {error}") from error
    offered = codec_rates_hz(body.response_format)
    if body.sample_rate not in offered:
        valid = ", ".join(map(str, offered))
        message = f"sample_rate {body.sample_rate} is not offered for {body.response_format}; valid: {valid}"
        raise ApiError("invalid_parameter", message, param="sample_rate")
    if not body.input.strip():
        raise ApiError("unspeakable_text", "input is empty; send at least one word", param="input")
    return body
