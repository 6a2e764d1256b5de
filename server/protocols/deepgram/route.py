"""Deepgram's `POST /v1/speak`, and `/v2/speak`: a text in, audio out as it is made; and the sockets of these paths."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, WebSocket
from fastapi.responses import Response

from server.access import KEY_FOLLOWS
from server.audio.formats import MEDIA_TYPES, AudioFormat, Codec
from server.errors import ApiError
from server.http.answer import SpeechResponse, audio_bytes, first_audio
from server.http.dependencies import MAY_SPEAK, CurrentState, ReceivedS, body_as
from server.http.openapi import request_body, speech_responses
from server.http.websocket import offered, serve_websocket
from server.http.whole_answer import wants_whole, whole_answer
from server.protocols.deepgram import socket_v1, socket_v2
from server.protocols.deepgram.errors import refuse_v1, refuse_v2
from server.protocols.deepgram.messages import (
    SpeakBody,
    SpeakQuery,
    parsed,
    parsed_body,
    spoken_by,
)
from server.speech.encoded import EncodedSpeech
from server.state import State, state_of

router = APIRouter()
_TAKES = request_body(SpeakBody, SpeakQuery)
_GIVES = speech_responses("audio/l16", *MEDIA_TYPES.values())


async def _query(request: Request) -> SpeakQuery:
    return parsed(SpeakQuery, dict(request.query_params))


@router.post("/v1/speak", dependencies=MAY_SPEAK, responses=_GIVES, openapi_extra=_TAKES, response_class=Response)
@router.post("/v2/speak", dependencies=MAY_SPEAK, responses=_GIVES, openapi_extra=_TAKES, response_class=Response)
async def speak(
    request: Request,
    state: CurrentState,
    received_s: ReceivedS,
    query: Annotated[SpeakQuery, Depends(_query)],
    body: Annotated[SpeakBody, Depends(body_as(parsed_body))],
) -> Response:
    request_id = f"req-{uuid.uuid4().hex}"
    speaking = _open(state, query, body, request_id)
    first = await first_audio(speaking, body.text, received_s, "text")
    headers = {**speaking.headers, **_told(state, request_id, len(body.text))}
    if wants_whole(request, speaking.form):
        return await whole_answer(request, state, speaking, first, headers)
    return SpeechResponse(speaking, audio_bytes(speaking, first), _media_type(speaking.form), headers)


def _open(state: State, query: SpeakQuery, body: SpeakBody, request_id: str) -> EncodedSpeech:
    """Raises ApiError."""
    if not body.text.strip():
        raise ApiError("unspeakable_text", "text is empty; send at least one word", param="text")
    state.check_text(body.text, "text")
    chosen_voice, options = spoken_by(state, query.model)
    return EncodedSpeech(
        state,
        protocol="deepgram",
        chosen_voice=chosen_voice,
        form=query.form,
        speed=query.speed,
        options=options,
        request_id=request_id,
    )


def _media_type(form: AudioFormat) -> str:
    if form.codec is Codec.PCM and not form.in_wav:
        return f"audio/l16;rate={form.rate_hz};channels=1"
    return form.media_type


def _told(state: State, request_id: str, characters: int) -> dict[str, str]:
    return {
        "dg-request-id": request_id,
        "dg-model-name": state.bundle.name,
        "dg-model-uuid": state.bundle.digest,
        "dg-char-count": str(characters),
    }


@router.websocket("/v1/speak")
async def speak_v1(socket: WebSocket) -> None:
    state = state_of(socket)
    connect = partial(socket_v1.SpeakV1, socket=socket, state=state)
    await serve_websocket(socket, "deepgram-v1", connect, refuse_v1, subprotocol=offered(socket, *KEY_FOLLOWS))


@router.websocket("/v2/speak")
async def speak_v2(socket: WebSocket) -> None:
    state = state_of(socket)
    connect = partial(socket_v2.SpeakV2, socket=socket, state=state)
    await serve_websocket(socket, "deepgram-v2", connect, refuse_v2, subprotocol=offered(socket, *KEY_FOLLOWS))
