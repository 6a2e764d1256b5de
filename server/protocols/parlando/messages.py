"""What a client of `parlando.v1` may send. Fields that are not listed are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter, ValidationError

from engines.messages import LeadingSilence
from server.audio import DEFAULT_RATE_HZ
from server.errors import ApiError
from server.schemas import Instructions, Name, PitchSemitones, Sampled, Seed, Speed, Temperature, described, read_json
from server.speech.pronunciations import Pronunciations

MAX_FLUSHES = 1_000
ContextName = Annotated[Name, Field(min_length=1, max_length=64)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    context: ContextName | None = None  # None: the unnamed one


class _Request(_Message, Sampled):
    voice: StrictStr | None = None
    timbre: StrictStr | None = None
    pitch_semitones: PitchSemitones = 0.0
    seed: Seed | None = None
    speed: Speed = 1.0
    sample_rate: StrictInt = DEFAULT_RATE_HZ
    temperature: Temperature | None = None
    leading_silence: LeadingSilence | None = None
    words: StrictBool = True
    language: Name | None = None
    instructions: Instructions | None = None
    pronunciations: Pronunciations | None = None


class StartMessage(_Request):
    type: Literal["start"]


class ResumeMessage(_Request):
    """The request as it was, what of its text was sent, and where its audio breaks off."""

    type: Literal["resume"]
    seed: Seed
    text: StrictStr
    flushes: list[StrictInt] = Field([], max_length=MAX_FLUSHES)
    ended: StrictBool = True
    resume_id: Name
    from_sample: Annotated[StrictInt, Field(ge=0)]


class AppendMessage(_Message):
    type: Literal["append"]
    text: StrictStr


class FlushMessage(_Message):
    type: Literal["flush"]


class EndMessage(_Message):
    type: Literal["end"]


class CancelMessage(_Message):
    type: Literal["cancel"]
    played_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


ClientMessage = StartMessage | ResumeMessage | AppendMessage | FlushMessage | EndMessage | CancelMessage
_CLIENT_MESSAGE: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])


def client_message(text: str) -> ClientMessage:
    try:
        return _CLIENT_MESSAGE.validate_python(read_json(text))
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error
    except ValueError as error:
        raise ApiError("invalid_message", f"the message is not JSON: {error}") from error
