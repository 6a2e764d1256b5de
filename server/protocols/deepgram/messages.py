"""What Deepgram's clients ask for, in addresses, bodies and messages."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from engines.families.common.voice_mix import ChosenVoice
from server.audio.formats import AudioFormat, Codec, codec_rates_hz
from server.errors import ApiError
from server.schemas import Speed, described, read_json
from server.speech.model_options import Options, in_language, languages, speaks
from server.state import State

_FAMILIES = ("aura", "flux")
_DEFAULT_MODEL = "aura-2"
_CODECS = {
    "linear16": Codec.PCM, "mulaw": Codec.MU_LAW, "alaw": Codec.A_LAW,
    "mp3": Codec.MP3, "opus": Codec.OPUS, "flac": Codec.FLAC, "aac": Codec.AAC,
}  # fmt: skip
_PLAIN = ("linear16", "mulaw", "alaw")
_DEFAULT_RATES_HZ = {"linear16": 24_000, "mp3": 22_050, "opus": 48_000, "flac": 24_000, "aac": 24_000}
_TELEPHONE_HZ = 8_000
_BIT_RATES = {"mp3": (32_000, 48_000), "opus": (4_000, 650_000), "aac": (4_000, 192_000)}
_Form = TypeVar("_Form", bound=BaseModel)
Plain = Literal["linear16", "mulaw", "alaw"]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SocketQuery(_Lenient):
    """Of both WebSockets: plain samples."""

    model: str = _DEFAULT_MODEL
    encoding: Plain = "linear16"
    sample_rate: int | None = None
    speed: Speed = 1.0

    @property
    def form(self) -> AudioFormat:
        """Raises ApiError."""
        return _form(self.encoding, self.sample_rate)


class SpeakQuery(_Lenient):
    """Of HTTP. `callback` is refused: audio goes to the caller alone."""

    model: str = _DEFAULT_MODEL
    encoding: Literal["linear16", "mulaw", "alaw", "mp3", "opus", "flac", "aac"] = "mp3"
    container: Literal["none", "wav", "ogg"] | None = None
    sample_rate: int | None = None
    bit_rate: int | None = None
    speed: Speed = 1.0
    callback: str | None = None

    @property
    def form(self) -> AudioFormat:
        """Raises ApiError."""
        if self.callback is not None:
            raise ApiError("invalid_parameter", "callback is not served; read the answer", param="callback")
        containers = ("wav", "none") if self.encoding in _PLAIN else ("ogg",) if self.encoding == "opus" else ("none",)
        container = self.container or containers[0]
        if container not in containers:
            message = f"container {container!r} does not hold {self.encoding}; valid: {', '.join(containers)}"
            raise ApiError("invalid_parameter", message, param="container")
        return _form(self.encoding, self.sample_rate, self.bit_rate, in_wav=container == "wav")


class SpeakBody(_Lenient):
    text: StrictStr


def _form(encoding: str, rate_hz: int | None, bit_rate: int | None = None, *, in_wav: bool = False) -> AudioFormat:
    codec = _CODECS[encoding]
    rate_hz = rate_hz if rate_hz is not None else _DEFAULT_RATES_HZ.get(encoding, _TELEPHONE_HZ)
    offered = codec_rates_hz(codec)
    if rate_hz not in offered:
        valid = ", ".join(map(str, offered))
        message = f"sample_rate {rate_hz} is not offered for {encoding}; valid: {valid}"
        raise ApiError("invalid_parameter", message, param="sample_rate")
    if bit_rate is not None and encoding in _BIT_RATES:
        least, most = _BIT_RATES[encoding]
        if not least <= bit_rate <= most:
            message = f"bit_rate {bit_rate} is not offered for {encoding}; valid: {least} to {most}"
            raise ApiError("invalid_parameter", message, param="bit_rate")
    else:
        bit_rate = None
    return AudioFormat(codec=codec, rate_hz=rate_hz, bit_rate=bit_rate, in_wav=in_wav)


def spoken_by(state: State, model: str) -> tuple[ChosenVoice, Options]:
    """Deepgram's models are voices: `aura-2-NAME-en`. One of its own names is this server's first voice, as NAME may
    be one of ours. Raises ApiError."""
    name, language = _parts(state, model)
    chosen = state.chosen_voice(name)
    if language is not None and not speaks(state.bundle, language):
        valid = ", ".join(languages(state.bundle))
        raise ApiError("unknown_model", f"model {model!r} speaks {language!r}; valid: {valid}", param="model")
    return chosen, in_language(state.bundle, language)


def _parts(state: State, model: str) -> tuple[str | None, str | None]:
    """The voice, where it is one of ours, and the language that a model's name has."""
    family, *parts = model.split("-")
    if family not in _FAMILIES:
        return model, None
    if parts and parts[0].isdigit():
        parts = parts[1:]
    language = parts.pop() if len(parts) > 1 else None
    name = "-".join(parts)
    return name if name in state.voice_names else None, language


class Speak(_Lenient):
    type: Literal["Speak"]
    text: StrictStr


class Flush(_Lenient):
    type: Literal["Flush"]


class Clear(_Lenient):
    type: Literal["Clear"]


class Close(_Lenient):
    type: Literal["Close"]


class PlaybackOffset(_Lenient):
    type: Literal["time_ms"] = "time_ms"
    value: Annotated[StrictInt, Field(ge=0)]


class Interrupt(_Lenient):
    type: Literal["Interrupt"]
    playback_offset: PlaybackOffset | None = None


class Configure(_Lenient):
    type: Literal["Configure"]
    speed: float | None = None


V1Message = Speak | Flush | Clear | Close
V2Message = Speak | Flush | Interrupt | Configure | Close
V1_FORMS: dict[str, type[V1Message]] = {"Speak": Speak, "Flush": Flush, "Clear": Clear, "Close": Close}
V2_FORMS: dict[str, type[V2Message]] = {
    "Speak": Speak,
    "Flush": Flush,
    "Interrupt": Interrupt,
    "Configure": Configure,
    "Close": Close,
}


def message_of(text: str, forms: dict[str, type[Any]]) -> Any:
    """Raises ApiError."""
    try:
        payload: Any = read_json(text)
    except ValueError as error:
        raise ApiError("invalid_message", f"the message is not JSON: {error}") from error
    kind = payload.get("type") if isinstance(payload, dict) else None
    form = forms.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise ApiError("invalid_request", f"type {kind!r} is not known; valid: {', '.join(forms)}", param="type")
    return parsed(form, payload)


def parsed(form: type[_Form], fields: object) -> _Form:
    """Raises ApiError."""
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


def parsed_body(raw: bytes) -> SpeakBody:
    """Raises ApiError."""
    try:
        return parsed(SpeakBody, read_json(raw))
    except ValueError as error:
        raise ApiError("invalid_request", f"the body is not JSON: {error}") from error
