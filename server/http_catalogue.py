"""What there is to speak with: voices and models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from server.state import MODEL_ALIASES, state_of
from server.voice_names import aliases_of

router = APIRouter()


@router.get("/v1/audio/voices")
async def voices(request: Request) -> dict[str, Any]:
    """The default voice first, each with the names it answers to."""
    state = state_of(request)
    listed = [
        {
            "id": voice.id,
            "name": voice.name,
            "description": voice.description,
            "aliases": aliases_of(state, voice.id),
        }
        for voice in state.bundle.voices
    ]
    return {"voices": listed}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    bundle = state_of(request).bundle
    names = (bundle.name, *MODEL_ALIASES)
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "parlando"} for name in names],
    }
