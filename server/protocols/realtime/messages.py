"""What a client of OpenAI's Realtime API sends, as far as speech goes out of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from server.audio import DEFAULT_RATE_HZ, OFFERED_HZ
from server.audio.formats import AudioFormat, Codec
from server.errors import ApiError
from server.schemas import Name, Seed, Speed, described, read_json

_TELEPHONE_HZ = 8_000
_CODECS = {"audio/pcm": Codec.PCM, "audio/pcmu": Codec.MU_LAW, "audio/pcma": Codec.A_LAW}
_Form = TypeVar("_Form", bound=BaseModel)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class VoiceRef(_Lenient):
    id: StrictStr


class OutputFormat(_Lenient):
    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: StrictInt | None = None

    @property
    def form(self) -> AudioFormat:
        """Raises ApiError."""
        rate_hz = self.rate or (DEFAULT_RATE_HZ if self.type == "audio/pcm" else _TELEPHONE_HZ)
        if rate_hz not in OFFERED_HZ:
            valid = ", ".join(map(str, OFFERED_HZ))
            raise ApiError("invalid_parameter", f"rate {rate_hz} is not offered; valid: {valid}", param="format.rate")
        return AudioFormat(codec=_CODECS[self.type], rate_hz=rate_hz)


class AudioOutput(_Lenient):
    """None: as before."""

    format: OutputFormat | None = None
    voice: StrictStr | VoiceRef | None = None
    speed: Speed | None = None

    @property
    def voice_id(self) -> str | None:
        return self.voice.id if isinstance(self.voice, VoiceRef) else self.voice

    def changed(self, by: AudioOutput | None) -> AudioOutput:
        given = {} if by is None else {name: getattr(by, name) for name in by.model_fields_set}
        return self.model_copy(update=given)


class Audio(_Lenient):
    output: AudioOutput | None = None


class Session(_Lenient):
    audio: Audio = Audio()
    output_modalities: list[Literal["audio"]] = ["audio"]


class Part(_Lenient):
    type: Literal["input_text", "output_text", "text", "input_audio", "output_audio", "input_image", "audio"]
    text: Name = ""
    transcript: Name = ""


class Item(_Lenient):
    type: Literal["message"] = "message"
    id: Name | None = None
    role: Literal["user", "assistant", "system"] = "user"
    content: list[Part] = Field(default_factory=list, max_length=64)

    @property
    def text(self) -> str:
        """What is to be spoken of it: a system's message is for a language model."""
        return "" if self.role == "system" else "".join(part.text or part.transcript for part in self.content)


class Response(_Lenient):
    audio: Audio = Audio()
    input: list[Item] | None = Field(None, max_length=64)
    metadata: dict[Name, Name] | None = None
    seed: Seed | None = None  # ours


class _Event(_Lenient):
    event_id: Name | None = None


class SessionUpdate(_Event):
    type: Literal["session.update"]
    session: Session


class ItemCreate(_Event):
    type: Literal["conversation.item.create"]
    item: Item


class ItemTruncate(_Event):
    type: Literal["conversation.item.truncate"]
    item_id: Name
    content_index: StrictInt = 0
    audio_end_ms: Annotated[StrictInt, Field(ge=0)]


class ResponseCreate(_Event):
    type: Literal["response.create"]
    response: Response = Response()


class ResponseCancel(_Event):
    type: Literal["response.cancel"]
    response_id: Name | None = None


class BufferClear(_Event):
    type: Literal["output_audio_buffer.clear"]


RealtimeMessage = SessionUpdate | ItemCreate | ItemTruncate | ResponseCreate | ResponseCancel | BufferClear
_FORMS: dict[str, type[RealtimeMessage]] = {
    "session.update": SessionUpdate,
    "conversation.item.create": ItemCreate,
    "conversation.item.truncate": ItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
    "output_audio_buffer.clear": BufferClear,
}


def message_of(text: str) -> RealtimeMessage:
    """Raises ApiError."""
    payload = _read(text)
    kind = payload.get("type") if isinstance(payload, dict) else None
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise ApiError("invalid_request", f"type {kind!r} is not served; valid: {', '.join(_FORMS)}", param="type")
    try:
        return form.model_validate(payload)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


def event_id_of(text: str | None) -> str | None:
    """Of a message that is refused, as far as it can be read."""
    try:
        payload = _read(text or "")
    except ApiError:
        return None
    name = payload.get("event_id") if isinstance(payload, dict) else None
    return name.encode(errors="replace").decode() if isinstance(name, str) else None


def _read(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise ApiError("invalid_message", f"the message is not JSON: {error}") from error
