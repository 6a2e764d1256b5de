"""What there is to speak with: voices and models, in OpenAI's and in ElevenLabs' words.

Both have a `GET /v1/models`; a request with the header `xi-api-key` comes from a client of ElevenLabs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from engines.families.bundle import Voice
from server.errors import ApiError
from server.protocols.elevenlabs.messages import ELEVEN_MODELS
from server.speech.cloned_voices import ClonedVoice
from server.speech.model_options import languages
from server.state import State, state_of

router = APIRouter()
_SETTINGS = {"speed": 1.0}  # those that have a meaning here
_NOT_THERE = {"description": "there is none of that name; valid ones are named"}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: _NOT_THERE, 400: _NOT_THERE}  # 400: a model, in ElevenLabs' words


@router.get("/v1/audio/voices")
async def voices(request: Request) -> dict[str, Any]:
    """The default voice first, each with the names it answers to."""
    state = state_of(request)
    names = state.voice_names
    listed = [
        {
            "id": voice.id,
            "name": voice.name,
            "description": voice.description,
            "aliases": [name for name, of in names.items() if of == voice.id != name],
            "cloned": voice.id in state.cloned.listed,
        }
        for voice in state.listed_voices
    ]
    return {"voices": listed}


@router.get("/v1/voices")
async def eleven_voices(request: Request) -> dict[str, Any]:
    voices = state_of(request).listed_voices
    return {"voices": [_eleven_voice(voice.id, voice.name, voice.description) for voice in voices]}


@router.get("/v2/voices")
async def eleven_voice_pages(
    request: Request,
    page_size: Annotated[int, Query(ge=1, le=100)] = 10,
    next_page_token: str | None = None,
    search: str = "",
    voice_ids: Annotated[list[str] | None, Query()] = None,
    sort: Literal["name", "created_at_unix"] | None = None,
    sort_direction: Literal["asc", "desc"] = "asc",
) -> dict[str, Any]:
    """A page of them; the token is the last voice of the page before. Raises ApiError."""
    found = [
        voice
        for voice in state_of(request).listed_voices
        if search.lower() in f"{voice.id} {voice.name} {voice.description}".lower()
        and (voice_ids is None or voice.id in voice_ids)
    ]
    if sort == "name":
        found.sort(key=lambda voice: voice.name, reverse=sort_direction == "desc")
    names = [voice.id for voice in found]
    if next_page_token is not None and next_page_token not in names:
        message = f"next_page_token {next_page_token!r} is of no page; take it from the page before"
        raise ApiError("invalid_parameter", message, param="next_page_token")
    begin = 0 if next_page_token is None else names.index(next_page_token) + 1
    page = found[begin : begin + page_size]
    has_more = begin + page_size < len(found)
    return {
        "voices": [_eleven_voice(voice.id, voice.name, voice.description, _category(voice)) for voice in page],
        "has_more": has_more,
        "total_count": len(found),
        "next_page_token": page[-1].id if has_more else None,
    }


@router.get("/v1/voices/settings/default")
async def eleven_settings() -> dict[str, Any]:
    return dict(_SETTINGS)


@router.get("/v1/voices/{voice_id}/settings", responses=_UNKNOWN)
async def eleven_voice_settings(request: Request, voice_id: str) -> dict[str, Any]:
    """Raises ApiError."""
    state_of(request).chosen_voice(voice_id)
    return dict(_SETTINGS)


@router.get("/v1/voices/{voice_id}", responses=_UNKNOWN)
async def eleven_voice(request: Request, voice_id: str) -> JSONResponse:
    """A mix is a voice too. Raises ApiError."""
    state = state_of(request)
    chosen_voice = state.chosen_voice(voice_id)
    if chosen_voice.timbre:
        parts = ", ".join(f"{state.voice(name).name} {share:.0%}" for name, share in chosen_voice.timbre)
        return JSONResponse(_eleven_voice(voice_id, voice_id, f"a mix: {parts}", category="generated"))
    voice = state.voice(chosen_voice.voice)
    return JSONResponse(_eleven_voice(voice.id, voice.name, voice.description, _category(voice)))


@router.get("/v1/audio/models")
async def audio_models(request: Request) -> dict[str, Any]:
    return {"models": [{"id": name, "name": name} for name in state_of(request).models]}


@router.get("/v1/models")
async def models(request: Request) -> JSONResponse:
    state = state_of(request)
    if "xi-api-key" in request.headers:
        return JSONResponse([_eleven_model(state, name) for name in (state.bundle.name, *ELEVEN_MODELS)])
    return JSONResponse({"object": "list", "data": [_openai_model(name) for name in state.models]})


@router.get("/v1/models/{name:path}", responses=_UNKNOWN)
async def model(request: Request, name: str) -> JSONResponse:
    """OpenAI's. Raises ApiError."""
    state_of(request).check_model(name)
    return JSONResponse(_openai_model(name))


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "parlando"}


def _category(voice: Voice | ClonedVoice) -> str:
    return "cloned" if isinstance(voice, ClonedVoice) else "premade"


def _eleven_voice(voice_id: str, name: str, description: str, category: str = "premade") -> dict[str, Any]:
    return {
        "voice_id": voice_id,
        "name": name,
        "category": category,
        "description": description,
        "labels": {},
        "preview_url": None,
        "settings": dict(_SETTINGS),
    }


def _eleven_model(state: State, name: str) -> dict[str, Any]:
    return {
        "model_id": name,
        "name": name,
        "description": f"{state.bundle.name}, the one model of this server",
        "can_do_text_to_speech": True,
        "can_do_voice_conversion": False,
        "can_be_finetuned": False,
        "can_use_style": False,
        "can_use_speaker_boost": False,
        "serves_pro_voices": False,
        "token_cost_factor": 1.0,
        "requires_alpha_access": False,
        "max_characters_request_free_user": state.settings.max_characters,
        "max_characters_request_subscribed_user": state.settings.max_characters,
        "maximum_text_length_per_request": state.settings.max_characters,
        "languages": [
            {"language_id": code, "name": language.title()} for code, language in languages(state.bundle).items()
        ],
    }
