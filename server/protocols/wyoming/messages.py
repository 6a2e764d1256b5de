"""What Home Assistant sends and is told, as Wyoming's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from engines.families.common.voice_mix import ChosenVoice
from server.errors import ApiError
from server.protocols.wyoming.events import Event
from server.schemas import described
from server.speech.model_options import Options, in_language, languages, speaks
from server.state import State

_ATTRIBUTION = {"name": "parlando", "url": ""}


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore")


class VoiceRef(_Lenient):
    """A `speaker` has no meaning: every voice is one."""

    name: StrictStr | None = None
    language: StrictStr | None = None


class Start(_Lenient):
    voice: VoiceRef | None = None


class Synthesize(Start):
    text: StrictStr


class TextChunk(_Lenient):
    text: StrictStr


_Form = TypeVar("_Form", bound=BaseModel)


def parsed(form: type[_Form], event: Event) -> _Form:
    try:
        return form.model_validate(event.data)
    except ValidationError as error:
        raise described(error, "invalid_parameter") from error


@dataclass(frozen=True, slots=True)
class Chosen:
    voice: ChosenVoice
    options: Options


def chosen(state: State, voice: VoiceRef | None) -> Chosen:
    """By name, or any that speaks the language. Raises ApiError."""
    name, language = (None, None) if voice is None else (voice.name, voice.language)
    if language is not None and not speaks(state.bundle, language):
        if name is None:
            message = f"no voice speaks {language!r}; valid: {', '.join(languages(state.bundle))}"
            raise ApiError("unknown_voice", message, param="voice")
        language = None
    return Chosen(state.chosen_voice(name), in_language(state.bundle, language))


def info(state: State, version: str) -> dict[str, Any]:
    """What answers `describe`."""
    others = ("asr", "handle", "intent", "wake", "mic", "snd")
    voices = [
        {**_artifact(voice.id, f"{voice.name}: {voice.description}", version), "languages": [*languages(state.bundle)]}
        for voice in state.listed_voices
    ]
    program = {
        **_artifact("parlando", "words in, audio out", version),
        "voices": voices,
        "supports_synthesize_streaming": True,
    }
    return {"tts": [program], **{name: [] for name in others}}


def _artifact(name: str, description: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "version": version,
        "installed": True,
        "attribution": _ATTRIBUTION,
    }
