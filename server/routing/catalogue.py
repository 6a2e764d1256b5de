"""What there is to speak with: voices and models, in OpenAI's and in ElevenLabs' words.

Both have a `GET /v1/models`; a request with the header `xi-api-key` comes from a client of ElevenLabs.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from server.protocols.elevenlabs.messages import ELEVEN_MODELS
from server.state import State, state_of

router = APIRouter()
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "there is none of that name; valid ones are named"}}


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
        }
        for voice in state.bundle.voices
    ]
    return {"voices": listed}


@router.get("/v1/voices")
async def eleven_voices(request: Request) -> dict[str, Any]:
    voices = state_of(request).bundle.voices
    return {"voices": [_eleven_voice(voice.id, voice.name, voice.description) for voice in voices]}


@router.get("/v1/voices/{voice_id}", responses=_UNKNOWN)
async def eleven_voice(request: Request, voice_id: str) -> JSONResponse:
    """A mix is a voice too. Raises ApiError."""
    state = state_of(request)
    casting = state.casting(voice_id)
    if casting.timbre:
        parts = ", ".join(f"{state.bundle.voice(name).name} {share:.0%}" for name, share in casting.timbre)
        return JSONResponse(_eleven_voice(voice_id, voice_id, f"a mix: {parts}", category="generated"))
    voice = state.bundle.voice(casting.voice)
    return JSONResponse(_eleven_voice(voice.id, voice.name, voice.description))


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


def _eleven_voice(voice_id: str, name: str, description: str, category: str = "premade") -> dict[str, Any]:
    return {
        "voice_id": voice_id,
        "name": name,
        "category": category,
        "description": description,
        "labels": {},
        "preview_url": None,
        "settings": {"speed": 1.0},
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
        "languages": [{"language_id": "en", "name": "English"}],
    }
