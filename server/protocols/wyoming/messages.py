"""What Home Assistant sends and is told, as Wyoming's events."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from engines.families.common.voice_mix import ChosenVoice
from server.errors import ApiError
from server.protocols.wyoming.events import Event
from server.schemas import described
from server.state import State

_ATTRIBUTION = {"name": "parlando", "url": ""}
_LANGUAGE = "en"


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


def chosen_voice(state: State, voice: VoiceRef | None) -> ChosenVoice:
    """By name, or any that speaks the language. Raises ApiError."""
    if voice is not None and voice.name is None and voice.language is not None:
        spoken = voice.language.replace("_", "-").lower().partition("-")[0]
        if spoken != _LANGUAGE:
            message = f"no voice speaks {voice.language!r}; valid: {_LANGUAGE}"
            raise ApiError("unknown_voice", message, param="voice")
    return state.chosen_voice(voice.name if voice is not None else None)


def info(state: State, version: str) -> dict[str, Any]:
    """What answers `describe`."""
    others = ("asr", "handle", "intent", "wake", "mic", "snd")
    voices = [
        {**_artifact(voice.id, f"{voice.name}: {voice.description}", version), "languages": [_LANGUAGE]}
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
