"""ElevenLabs' `POST /v1/text-to-speech/{voice}` and its three sisters: audio, or JSON with characters and their times.

All four send audio as it is made; the one JSON object of `/with-timestamps` ends with the times.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response

from engines.messages import WordTime
from server.audio.formats import MEDIA_TYPES
from server.errors import ApiError
from server.http.answer import SpeechResponse, aborted, audio_events, first_audio
from server.http.openapi import request_body, speech_responses
from server.http.whole_answer import wants_whole, whole_answer
from server.protocols.elevenlabs.alignment import CharTimes, Span
from server.protocols.elevenlabs.messages import (
    Query,
    TextBody,
    check_key,
    check_model,
    error_response,
    parsed,
    parsed_json,
    stored_pronunciations,
)
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.state import State, state_of

router = APIRouter()
_Writer = Callable[[EncodedSpeech, Audio, str], AsyncIterator[bytes]]


_TAKES = request_body(TextBody, Query)
_AUDIO = speech_responses(*MEDIA_TYPES.values())
_JSON = speech_responses("application/json")


@router.post("/v1/text-to-speech/{voice_id}", responses=_AUDIO, openapi_extra=_TAKES, response_class=Response)
@router.post("/v1/text-to-speech/{voice_id}/stream", responses=_AUDIO, openapi_extra=_TAKES, response_class=Response)
async def speech(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _audio, None)


@router.post("/v1/text-to-speech/{voice_id}/with-timestamps", responses=_JSON, openapi_extra=_TAKES)
async def speech_with_timestamps(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _timed_whole, "application/json")


@router.post("/v1/text-to-speech/{voice_id}/stream/with-timestamps", responses=_JSON, openapi_extra=_TAKES)
async def stream_with_timestamps(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _timed_lines, "application/json")


async def _answer(request: Request, voice_id: str, write: _Writer, media_type: str | None) -> Response:
    """`media_type` None: that of the audio. Raises Invalid."""
    state = state_of(request)
    received_s, request_id = request.state.received_s, f"req-{uuid.uuid4().hex}"
    try:
        check_key(state, request)
        state.check_accepting()
        query, body = parsed(Query, "query", dict(request.query_params)), parsed_json(TextBody, await request.body())
        speaking = await _open(state, voice_id, query, body, request_id)
        first = await first_audio(speaking, body.text, received_s, "text")
        headers = {**speaking.headers, "request-id": request_id, "character-cost": str(len(body.text))}
        if media_type is None and wants_whole(request, speaking.form):
            return await whole_answer(request, state, speaking, first, headers)
    except ApiError as error:
        state.refused(error)
        return error_response(error, request_id)
    content = write(speaking, first, body.text)
    return SpeechResponse(speaking, content, media_type or speaking.form.media_type, headers)


async def _open(state: State, voice_id: str, query: Query, body: TextBody, request_id: str) -> EncodedSpeech:
    check_model(state, body.model_id)
    if not body.text.strip():
        raise ApiError("unspeakable_text", "text is empty; send at least one word", param="text")
    state.check_length(len(body.text))
    return EncodedSpeech(
        state,
        protocol="elevenlabs",
        casting=state.casting(voice_id),
        form=query.form,
        seed=body.seed if body.seed is not None else query.seed,
        speed=body.speed,
        pronunciations=await stored_pronunciations(state, body.pronunciation_dictionary_locators, body.text),
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
    alignment = json.dumps(_joined([times.spoken(words), times.rest()]).in_seconds()).encode()
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
