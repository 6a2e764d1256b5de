"""Cartesia's `POST /tts/bytes` and `/tts/sse`, its voices, and the address of its WebSocket."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, WebSocket
from fastapi.responses import Response

from engines.messages import Finished
from server.audio.formats import MEDIA_TYPES
from server.errors import ApiError
from server.http.answer import SpeechResponse, audio_bytes, audio_events, first_audio
from server.http.dependencies import MAY_SPEAK, CurrentState, ReceivedS, body_as
from server.http.openapi import request_body, speech_responses
from server.http.websocket import serve_websocket
from server.http.whole_answer import wants_whole, whole_answer
from server.protocols.cartesia import messages
from server.protocols.cartesia.errors import error_body, refuse
from server.protocols.cartesia.messages import check, options, pronunciations, request_of
from server.protocols.cartesia.socket import CartesiaSocket
from server.protocols.cartesia.words import WordTimes
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.speech.model_options import languages
from server.state import State, state_of

router = APIRouter()
_TAKES = request_body(messages.Request)
_SINCE = "2026-01-01T00:00:00Z"  # voices have to have a date
_MAX_PAGE = 100


_Asked = Annotated[messages.Request, Depends(body_as(request_of))]


@router.post(
    "/tts/bytes",
    dependencies=MAY_SPEAK,
    responses=speech_responses(*MEDIA_TYPES.values()),
    openapi_extra=_TAKES,
    response_class=Response,
)
async def speech(request: Request, state: CurrentState, received_s: ReceivedS, asked: _Asked) -> Response:
    speaking = await _open(state, asked)
    first = await first_audio(speaking, asked.transcript, received_s, "transcript")
    if wants_whole(request, speaking.form):
        return await whole_answer(request, state, speaking, first, speaking.headers)
    return SpeechResponse(speaking, audio_bytes(speaking, first), speaking.form.media_type, speaking.headers)


@router.post(
    "/tts/sse",
    dependencies=MAY_SPEAK,
    responses=speech_responses("text/event-stream"),
    openapi_extra=_TAKES,
    response_class=Response,
)
async def events(state: CurrentState, received_s: ReceivedS, asked: _Asked) -> Response:
    if asked.output_format.container != "raw":
        message = f"container {asked.output_format.container!r} is not sent in events; valid: raw"
        raise ApiError("invalid_parameter", message, param="output_format.container")
    speaking = await _open(state, asked)
    first = await first_audio(speaking, asked.transcript, received_s, "transcript")
    headers = {**speaking.headers, "Cache-Control": "no-cache"}
    return SpeechResponse(speaking, _events(speaking, first, asked), "text/event-stream", headers)


@router.websocket("/tts/websocket")
async def websocket(socket: WebSocket) -> None:
    connect = partial(CartesiaSocket, socket=socket, state=state_of(socket))
    await serve_websocket(socket, "cartesia-ws", connect, refuse)


async def _open(state: State, asked: messages.Request) -> EncodedSpeech:
    """Raises ApiError."""
    check(state, asked)
    if not asked.transcript.strip():
        raise ApiError("unspeakable_text", "transcript is empty; send at least one word", param="transcript")
    state.check_text(asked.transcript, "transcript")
    return EncodedSpeech(
        state,
        protocol="cartesia",
        chosen_voice=state.chosen_voice(asked.voice_id),
        form=asked.output_format.form,
        seed=asked.seed,
        speed=asked.factor,
        options=options(state, asked),
        pronunciations=await pronunciations(state, asked, asked.transcript),
        request_id=f"req-{uuid.uuid4().hex}",
        text_field="transcript",
    )


async def _events(speaking: EncodedSpeech, first: Audio, asked: messages.Request) -> AsyncIterator[bytes]:
    named = {} if asked.context_id is None else {"context_id": asked.context_id}
    times = WordTimes()
    try:
        async for event in audio_events(speaking, first):
            if isinstance(event, Finished):
                told = {"warnings": list(event.warnings)} if event.warnings else {}
                yield _event("done", **named, done=True, status_code=200, **told)
                continue
            if event.data:
                spoken = speaking.sent()
                data = base64.b64encode(event.data).decode()
                yield _event("chunk", **named, data=data, done=False, status_code=206, step_time=0.0)
                if asked.add_timestamps and (words := times.of(spoken, speaking.text)):
                    yield _event("timestamps", **named, word_timestamps=words, done=False, status_code=206)
    except ApiError as error:
        yield _event("error", **named, done=True, **error_body(error, speaking.id))


def _event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@router.get("/voices")
async def voices(
    state: CurrentState,
    limit: int = 10,
    starting_after: str | None = None,
    ending_before: str | None = None,
    q: str = "",
) -> dict[str, Any]:
    """A page of them, in their order. Raises ApiError."""
    if not 1 <= limit <= _MAX_PAGE:
        raise ApiError("invalid_parameter", f"limit {limit} is not offered; valid: 1 to {_MAX_PAGE}", param="limit")
    names = [voice.id for voice in state.listed_voices if q.lower() in f"{voice.id} {voice.description}".lower()]
    begin = 0 if starting_after is None else _place(names, starting_after, "starting_after") + 1
    end = len(names) if ending_before is None else _place(names, ending_before, "ending_before")
    found = names[begin:end]
    page = found[-limit:] if ending_before is not None else found[:limit]
    return {"data": [_voice(state, name) for name in page], "has_more": len(page) < len(found)}


@router.get("/voices/{voice_id}")
async def voice(state: CurrentState, voice_id: str) -> dict[str, Any]:
    """A mix is a voice too, in its heaviest one's words. Raises ApiError."""
    try:
        chosen = state.chosen_voice(voice_id).voice
    except ApiError as error:
        raise ApiError("not_found", error.message, param=error.param) from error
    return {**_voice(state, chosen), "id": voice_id}


def _place(names: list[str], name: str, param: str) -> int:
    if name not in names:
        raise ApiError("unknown_voice", f"{param} {name!r} is not listed; valid: {', '.join(names)}", param=param)
    return names.index(name)


def _voice(state: State, name: str) -> dict[str, Any]:
    voice, spoken = state.voice(name), [*languages(state.bundle)]
    return {
        "id": voice.id,
        "name": voice.name,
        "description": voice.description,
        "tagline": "",
        "language": spoken[0],
        "locales": [{"locale": "en-US" if one == "en" else one, "is_native": True} for one in spoken],
        "access": "public",
        "visibility": "all",
        "is_owner": False,
        "is_public": True,
        "created_at": _SINCE,
    }
