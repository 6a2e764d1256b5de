"""What ElevenLabs' clients send. Fields without a meaning here are ignored."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictStr, ValidationError, field_validator
from starlette.requests import HTTPConnection

from server.audio.formats import ELEVEN_DEFAULT, ELEVEN_FORMATS, AudioFormat
from server.errors import ApiError
from server.protocols.elevenlabs.errors import Invalid
from server.schemas import MAX_SEED, Speed, read_json
from server.schemas import Name as ClientName
from server.speech.pronunciations import MAX_DICTIONARIES, Chosen, DictionaryName, Name
from server.state import State

ELEVEN_MODELS = ("eleven_flash_v2_5", "eleven_turbo_v2_5", "eleven_multilingual_v2", "eleven_v3")
_Parsed = TypeVar("_Parsed", bound=BaseModel)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class VoiceSettings(_Lenient):
    """Stability, similarity, style and boost have no meaning for this voice."""

    speed: Speed | None = None


class Locator(_Lenient):
    """A stored dictionary; version null takes what is there."""

    pronunciation_dictionary_id: Name
    version_id: Name | None = None


Locators = Annotated[list[Locator], Field(max_length=MAX_DICTIONARIES)]


class TextBody(_Lenient):
    text: StrictStr
    model_id: StrictStr | None = None
    voice_settings: VoiceSettings | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    language_code: ClientName | None = None
    pronunciation_dictionary_locators: Locators | None = None

    @property
    def speed(self) -> float:
        settings = self.voice_settings
        return settings.speed if settings is not None and settings.speed is not None else 1.0


class Query(_Lenient):
    """Of all endpoints; `seed` on a WebSocket is an extension."""

    output_format: str = Field(ELEVEN_DEFAULT, json_schema_extra={"enum": list(ELEVEN_FORMATS)})
    model_id: str | None = None
    language_code: ClientName | None = None  # of a WebSocket
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    inactivity_timeout: float = Field(20, gt=0, le=180)
    sync_alignment: bool = False
    auto_mode: bool = False
    enable_ssml_parsing: bool = True  # false: tags are dropped, and none is followed

    @field_validator("output_format")
    @classmethod
    def _is_offered(cls, name: str) -> str:
        if name not in ELEVEN_FORMATS:
            raise ValueError(f"valid: {', '.join(ELEVEN_FORMATS)}")
        return name

    @property
    def form(self) -> AudioFormat:
        return ELEVEN_FORMATS[self.output_format]


class ClientMessage(_Lenient):
    """Of both WebSockets."""

    text: StrictStr | None = None
    context_id: ClientName | None = Field(None, validation_alias=AliasChoices("context_id", "contextId"))
    flush: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: VoiceSettings | None = None
    pronunciation_dictionary_locators: Locators | None = None
    key: ClientName | None = Field(None, validation_alias=AliasChoices("xi-api-key", "xi_api_key", "authorization"))


def parsed(model: type[_Parsed], place: str, data: object) -> _Parsed:
    """Raises Invalid."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Invalid(place, error) from error


def parsed_json(model: type[_Parsed], raw: bytes | str) -> _Parsed:
    """Raises Invalid, or ApiError when it is not JSON at all."""
    try:
        return parsed(model, "body", read_json(raw))
    except ValueError as error:
        raise ApiError("invalid_message", f"not JSON: {error}") from error


def check_model(state: State, wanted: str | None) -> None:
    """Every model of ElevenLabs is this server's one."""
    if wanted is None or wanted.startswith("eleven_"):
        return
    valid = (*ELEVEN_MODELS, *state.models)
    if wanted not in valid:
        raise ApiError("unknown_model", f"model {wanted!r} does not exist; valid: {', '.join(valid)}", param="model_id")


async def stored_pronunciations(state: State, locators: list[Locator] | None, text: str = "") -> Chosen:
    """Raises ApiError for those that there are not."""
    names = [DictionaryName(name=one.pronunciation_dictionary_id, version=one.version_id) for one in locators or ()]
    return await state.dictionaries.stored(names, text, "pronunciation_dictionary_locators")


def has_key(connection: HTTPConnection) -> bool:
    return "xi-api-key" in connection.headers or "authorization" in connection.headers


def check_key(state: State, connection: HTTPConnection, message: ClientMessage | None = None) -> None:
    """The key from the headers, or from a WebSocket's first message."""
    key = message.key if message is not None and not has_key(connection) else None
    state.check_key(connection, key and key.removeprefix("Bearer "))
