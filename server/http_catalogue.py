"""What there is to speak with: voices and models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from server.state import MODEL_ALIASES, state_of

router = APIRouter()


@router.get("/v1/audio/voices")
async def voices(request: Request) -> dict[str, Any]:
    """The default voice first."""
    bundle = state_of(request).bundle
    listed = [{"id": voice.id, "name": voice.name, "description": voice.description} for voice in bundle.voices]
    return {"voices": listed}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    bundle = state_of(request).bundle
    names = (bundle.name, *MODEL_ALIASES)
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 0, "owned_by": "parlando"} for name in names],
    }
