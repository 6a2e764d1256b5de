"""`POST` and `DELETE /v1/audio/voices`: a recording becomes a voice, spoken with over every protocol at once.

A form in OpenAI's words (`name`, `audio_sample`, `consent`), with `ref_text` as in vLLM-Omni's: what the recording
says. docs/wire.md is the contract.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.errors import ApiError
from server.http.dependencies import WITH_KEY, CurrentState, Requester
from server.http.multipart import form_fields
from server.http.openapi import error_responses, request_body
from server.speech.cloned_voices import MAX_CONSENT, MAX_TEXT, ClonedVoice

PATH = "/v1/audio/voices"
_OTHER_NAMES = {"file": "audio_sample", "text": "ref_text"}
router = APIRouter(prefix=PATH, dependencies=WITH_KEY, responses=error_responses())


class VoiceForm(BaseModel):
    """As `multipart/form-data`. `file` and `text` are other names of `audio_sample` and `ref_text`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="1 to 64 of a-z, 0-9, - and _")
    audio_sample: bytes = Field(min_length=1, description="2 to 30 s of one speaker, 16 kHz or more")
    consent: str = Field(
        min_length=1, max_length=MAX_CONSENT, description="who speaks in it, and that they agree; kept with the voice"
    )
    ref_text: str = Field("", max_length=MAX_TEXT, description="what the recording says; makes the voice nearer to it")


async def _form(state: CurrentState, request: Request) -> VoiceForm:
    """Raises ApiError, before the form is read where no voice can come of it."""
    state.cloned.check_takes()
    fields = {_OTHER_NAMES.get(name, name): value for name, value in (await form_fields(request)).items()}
    try:
        return VoiceForm(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ApiError("invalid_parameter", f"{name}: {message}", param=name) from error


@router.post("", openapi_extra=request_body(VoiceForm, media_type="multipart/form-data"))
async def add(state: CurrentState, owner: Requester, form: Annotated[VoiceForm, Depends(_form)]) -> JSONResponse:
    made = await state.cloned.add(
        form.name, form.audio_sample, form.ref_text, form.consent.strip(), owner, state.own_names
    )
    return JSONResponse(_described(made))


@router.delete("/{name}")
async def remove(name: str, state: CurrentState, owner: Requester) -> JSONResponse:
    """By the key, or without keys the address, that added it. Utterances in progress are spoken to their end."""
    await state.cloned.remove(name, owner)
    return JSONResponse({"id": name, "object": "audio.voice", "deleted": True})


def _described(voice: ClonedVoice) -> dict[str, Any]:
    return {
        "id": voice.id,
        "object": "audio.voice",
        "name": voice.name,
        "created_at": round(voice.created_s),
        "seconds": voice.seconds,
        "uses_text": voice.uses_text,
    }
