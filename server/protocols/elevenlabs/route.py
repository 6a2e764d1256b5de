"""ElevenLabs' `POST /v1/text-to-speech/{voice}` and its three sisters: audio, or JSON with characters and their times.

All four send audio as it is made; the one JSON object of `/with-timestamps` ends with the times.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from engines.messages import WordTime
from server.audio.formats import MEDIA_TYPES
from server.errors import ApiError
from server.http.answer import SpeechResponse, aborted, audio_events, first_audio
from server.http.dependencies import MAY_SPEAK, CurrentState, ReceivedS, body_as
from server.http.openapi import request_body, speech_responses
from server.http.whole_answer import wants_whole, whole_answer
from server.protocols.elevenlabs.alignment import CharTimes, Span
from server.protocols.elevenlabs.messages import (
    Query,
    TextBody,
    check_model,
    parsed,
    parsed_json,
    stored_pronunciations,
)
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.speech.model_options import in_language
from server.state import State

_Writer = Callable[[EncodedSpeech, Audio, str], AsyncIterator[bytes]]


_TAKES = request_body(TextBody, Query)
_AUDIO = speech_responses(*MEDIA_TYPES.values())
_JSON = speech_responses("application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One request, with its key checked and its parameters and body parsed."""

    request: Request
    state: State
    received_s: float
    voice_id: str
    query: Query
    body: TextBody


async def _query(request: Request) -> Query:
    return parsed(Query, "query", dict(request.query_params))


async def _asked(
    request: Request,
    state: CurrentState,
    received_s: ReceivedS,
    voice_id: str,
    query: Annotated[Query, Depends(_query)],
    body: Annotated[TextBody, Depends(body_as(partial(parsed_json, TextBody)))],
) -> _Asked:
    return _Asked(request=request, state=state, received_s=received_s, voice_id=voice_id, query=query, body=body)


Asked = Annotated[_Asked, Depends(_asked)]
router = APIRouter(dependencies=MAY_SPEAK)


@router.post("/v1/text-to-speech/{voice_id}", responses=_AUDIO, openapi_extra=_TAKES, response_class=Response)
@router.post("/v1/text-to-speech/{voice_id}/stream", responses=_AUDIO, openapi_extra=_TAKES, response_class=Response)
async def speech(asked: Asked) -> Response:
    return await _answer(asked, _audio, None)


@router.post("/v1/text-to-speech/{voice_id}/with-timestamps", responses=_JSON, openapi_extra=_TAKES)
async def speech_with_timestamps(asked: Asked) -> Response:
    return await _answer(asked, _timed_whole, "application/json")


@router.post("/v1/text-to-speech/{voice_id}/stream/with-timestamps", responses=_JSON, openapi_extra=_TAKES)
async def stream_with_timestamps(asked: Asked) -> Response:
    return await _answer(asked, _timed_lines, "application/json")


async def _answer(asked: _Asked, write: _Writer, media_type: str | None) -> Response:
    """`media_type` None: that of the audio. Raises ApiError."""
    request_id, text = f"req-{uuid.uuid4().hex}", asked.body.text
    speaking = await _open(asked.state, asked.voice_id, asked.query, asked.body, request_id)
    first = await first_audio(speaking, text, asked.received_s, "text")
    headers = {**speaking.headers, "request-id": request_id, "character-cost": str(len(text))}
    if media_type is None and wants_whole(asked.request, speaking.form):
        return await whole_answer(asked.request, asked.state, speaking, first, headers)
    content = write(speaking, first, text)
    return SpeechResponse(speaking, content, media_type or speaking.form.media_type, headers)


async def _open(state: State, voice_id: str, query: Query, body: TextBody, request_id: str) -> EncodedSpeech:
    check_model(state, body.model_id)
    if not body.text.strip():
        raise ApiError("unspeakable_text", "text is empty; send at least one word", param="text")
    state.check_length(len(body.text))
    return EncodedSpeech(
        state,
        protocol="elevenlabs",
        chosen_voice=state.chosen_voice(voice_id),
        form=query.form,
        seed=body.seed if body.seed is not None else query.seed,
        speed=body.speed,
        options=in_language(state.bundle, body.language_code, param="language_code"),
        pronunciations=await stored_pronunciations(state, body.pronunciation_dictionary_locators, body.text),
        follow_tags=query.enable_ssml_parsing,
        request_id=request_id,
    )


async def _audio_events(speaking: EncodedSpeech, first: Audio) -> AsyncIterator[Audio]:
    try:
        async for event in audio_events(speaking, first):
            if isinstance(event, Audio):
                yield event
    except ApiError as error:
        raise aborted(error) from error


async def _audio(speaking: EncodedSpeech, first: Audio, text: str) -> AsyncIterator[bytes]:
    async for sound in _audio_events(speaking, first):
        if sound.data:
            speaking.sent()
            yield sound.data


async def _timed_whole(speaking: EncodedSpeech, first: Audio, text: str) -> AsyncIterator[bytes]:
    """Base64 goes out in whole triplets: a long utterance is never held, nor encoded in one piece."""
    held = b""
    words: list[WordTime] = []
    yield b'{"audio_base64": "'
    async for sound in _audio_events(speaking, first):
        words += sound.words
        held += sound.data
        even = len(held) - len(held) % 3
        if even:
            speaking.sent()
            yield base64.b64encode(held[:even])
            held = held[even:]
    times = CharTimes(text)
    span = _joined([times.spoken(words), times.rest()])
    alignment = json.dumps(span.in_seconds() if span else None).encode()
    yield base64.b64encode(held) + b'", "alignment": ' + alignment + b', "normalized_alignment": ' + alignment + b"}"


async def _timed_lines(speaking: EncodedSpeech, first: Audio, text: str) -> AsyncIterator[bytes]:
    """A line for each piece of audio; words that ended while the encoder held its bytes back come with the next."""
    times, span = CharTimes(text), Span()
    async for sound in _audio_events(speaking, first):
        span = _joined([span, times.spoken(sound.words)])
        if sound.data:
            speaking.sent()
            yield _timed(sound.data, span) + b"\n"
            span = Span()
    span = _joined([span, times.rest()])
    if span:
        yield _timed(b"", span) + b"\n"


def _joined(spans: list[Span]) -> Span:
    whole = Span()
    for span in spans:
        whole.chars += span.chars
        whole.starts_ms += span.starts_ms
        whole.ends_ms += span.ends_ms
    return whole


def _timed(data: bytes, span: Span) -> bytes:
    """The text is spoken as written, so both alignments are one."""
    alignment = span.in_seconds() if span else None
    audio = base64.b64encode(data).decode()
    return json.dumps({"audio_base64": audio, "alignment": alignment, "normalized_alignment": alignment}).encode()
