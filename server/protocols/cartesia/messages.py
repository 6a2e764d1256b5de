"""What Cartesia's clients ask for, over HTTP and WebSocket alike."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from server.audio import OFFERED_HZ
from server.audio.formats import AudioFormat, Codec
from server.errors import ApiError
from server.schemas import Name as ClientName
from server.schemas import Seed, Speed, described, read_json
from server.speech.model_options import Options, in_language
from server.speech.pronunciations import Chosen, DictionaryName, Name
from server.state import State

_MODELS = "sonic"
_SPEEDS = {"slow": 0.8, "normal": 1.0, "fast": 1.25}
_ENCODINGS = {
    "pcm_s16le": Codec.PCM, "pcm_f32le": Codec.PCM_F32, "pcm_mulaw": Codec.MU_LAW, "pcm_alaw": Codec.A_LAW,
}  # fmt: skip
_Form = TypeVar("_Form", bound=BaseModel)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class VoiceRef(_Lenient):
    id: StrictStr
    mode: Literal["id"] = "id"


class OutputFormat(_Lenient):
    container: Literal["raw", "wav", "mp3"] = "raw"
    encoding: Literal["pcm_s16le", "pcm_f32le", "pcm_mulaw", "pcm_alaw"] | None = None
    sample_rate: StrictInt
    bit_rate: Annotated[StrictInt, Field(ge=8_000, le=320_000)] | None = None

    @property
    def form(self) -> AudioFormat:
        """Raises ApiError."""
        if self.sample_rate not in OFFERED_HZ:
            valid = ", ".join(map(str, OFFERED_HZ))
            message = f"sample_rate {self.sample_rate} is not offered; valid: {valid}"
            raise ApiError("invalid_parameter", message, param="output_format.sample_rate")
        if self.container == "mp3":
            return AudioFormat(codec=Codec.MP3, rate_hz=self.sample_rate, bit_rate=self.bit_rate)
        if self.encoding is None:
            message = f"container {self.container!r} needs an encoding; valid: {', '.join(_ENCODINGS)}"
            raise ApiError("invalid_parameter", message, param="output_format.encoding")
        in_wav = self.container == "wav"
        return AudioFormat(codec=_ENCODINGS[self.encoding], rate_hz=self.sample_rate, in_wav=in_wav)


class GenerationConfig(_Lenient):
    """Volume and emotion have no meaning for this voice."""

    speed: Speed | None = None


class Settings(_Lenient):
    """Of one utterance."""

    model_id: StrictStr
    voice: VoiceRef | StrictStr
    output_format: OutputFormat
    language: StrictStr | None = None
    locale: StrictStr | None = None
    speed: Literal["slow", "normal", "fast"] = "normal"
    generation_config: GenerationConfig | None = None
    pronunciation_dict_id: Name | None = None
    add_timestamps: StrictBool = False
    seed: Seed | None = None  # ours

    @property
    def voice_id(self) -> str:
        return self.voice if isinstance(self.voice, str) else self.voice.id

    @property
    def factor(self) -> float:
        chosen = self.generation_config.speed if self.generation_config is not None else None
        return _SPEEDS[self.speed] if chosen is None else chosen


class Request(Settings):
    """Of HTTP."""

    transcript: StrictStr
    context_id: ClientName | None = None


class Generation(Settings):
    """A message of the WebSocket: text of a context, which its first one opens."""

    context_id: ClientName
    transcript: StrictStr = ""
    more: StrictBool = Field(False, alias="continue")
    flush: StrictBool = False
    max_buffer_delay_ms: StrictInt | None = None


class Cancellation(_Lenient):
    context_id: ClientName
    cancel: Literal[True]
    played_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None  # ours


def request_of(raw: bytes) -> Request:
    """Raises ApiError."""
    try:
        return _parsed(Request, read_json(raw))
    except ValueError as error:
        raise ApiError("invalid_request", f"the body is not JSON: {error}") from error


def message_of(text: str) -> Generation | Cancellation:
    """Raises ApiError."""
    try:
        payload: Any = read_json(text)
    except ValueError as error:
        raise ApiError("invalid_message", f"the message is not JSON: {error}") from error
    if isinstance(payload, dict) and payload.get("cancel"):
        return _parsed(Cancellation, payload)
    return _parsed(Generation, payload)


def context_of(text: str | None) -> str | None:
    """Of a message that is refused, as far as it can be read."""
    try:
        payload: Any = read_json(text or "")
    except ValueError:
        return None
    name = payload.get("context_id") if isinstance(payload, dict) else None
    return name.encode(errors="replace").decode() if isinstance(name, str) else None


def _parsed(form: type[_Form], fields: object) -> _Form:
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


def check(state: State, asked: Settings) -> None:
    """That there is such a model, voice, language and format. Raises ApiError."""
    if not asked.model_id.startswith(_MODELS):
        state.check_model(asked.model_id)
    options(state, asked)
    state.chosen_voice(asked.voice_id)
    _ = asked.output_format.form


def options(state: State, asked: Settings) -> Options:
    """Raises ApiError."""
    language = in_language(state.bundle, asked.language)
    return language or in_language(state.bundle, asked.locale, param="locale")


async def pronunciations(state: State, asked: Settings, text: str) -> Chosen:
    """Raises ApiError for a dictionary that there is not."""
    name = asked.pronunciation_dict_id
    names = [] if name is None else [DictionaryName(name=name, version=None)]
    return await state.dictionaries.stored(names, text, "pronunciation_dict_id")
