"""ElevenLabs' `POST /v1/text-to-speech/{voice}` and its three sisters: audio, or JSON with characters and their times.

All four send audio as it is made, except `/with-timestamps`, whose one JSON object is written at the end.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from engines.messages import Cancelled, Failed, Finished, WordTime
from server.eleven_alignment import CharTimes, Span
from server.eleven_body import Invalid, Query, TextBody, check_key, check_model, error_response, parsed, parsed_json
from server.encoded_speech import EncodedSpeech, Sound, first_sound
from server.errors import ApiError
from server.state import state_of
from server.voice_names import resolved_voice

router = APIRouter()
_Writer = Callable[[EncodedSpeech, Sound, str], AsyncIterator[bytes]]


@router.post("/v1/text-to-speech/{voice_id}")
@router.post("/v1/text-to-speech/{voice_id}/stream")
async def speech(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _audio, None)


@router.post("/v1/text-to-speech/{voice_id}/with-timestamps")
async def speech_with_timestamps(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _timed_whole, "application/json")


@router.post("/v1/text-to-speech/{voice_id}/stream/with-timestamps")
async def stream_with_timestamps(request: Request, voice_id: str) -> Response:
    return await _answer(request, voice_id, _timed_lines, "application/json")


async def _answer(request: Request, voice_id: str, write: _Writer, media_type: str | None) -> Response:
    """`media_type` None: that of the audio."""
    received_s = time.monotonic()
    request_id = f"req-{uuid.uuid4().hex}"
    try:
        check_key(state_of(request), request)
        speaking, text = await _open(request, voice_id, received_s)
    except Invalid as invalid:
        return invalid.response()
    except ApiError as error:
        return error_response(error, request_id)
    try:
        first = await first_sound(speaking, "text")
    except ApiError as error:
        speaking.close()
        return error_response(error, speaking.id)
    except BaseException:
        speaking.close()
        raise
    headers = {
        "request-id": speaking.id,
        "x-request-id": speaking.id,
        "x-seed": str(speaking.seed),
        "character-cost": str(len(text)),
    }
    content = write(speaking, first, text)
    return StreamingResponse(content, media_type=media_type or speaking.form.media_type, headers=headers)


async def _open(request: Request, voice_id: str, received_s: float) -> tuple[EncodedSpeech, str]:
    state = state_of(request)
    state.check_accepting()
    query = parsed(Query, "query", dict(request.query_params))
    body = parsed_json(TextBody, await request.body())
    check_model(state, body.model_id)
    voice = resolved_voice(state, voice_id)
    if not body.text.strip():
        raise ApiError("unspeakable_text", "text is empty; send at least one word", param="text")
    if len(body.text) > state.settings.max_characters:
        message = f"text has {len(body.text)} characters, the limit is {state.settings.max_characters}"
        raise ApiError("text_too_long", message, param="text")
    seed = body.seed if body.seed is not None else query.seed
    speaking = EncodedSpeech(state, protocol="elevenlabs", voice=voice, form=query.form, seed=seed, speed=body.speed)
    speaking.append(body.text, received_s)
    speaking.end()
    return speaking, body.text


async def _sounds(speaking: EncodedSpeech, first: Sound) -> AsyncIterator[Sound]:
    """All sounds to the end; a fault cuts the connection, since the headers are out."""
    try:
        event: object = first
        while not isinstance(event, Finished | Cancelled):
            if isinstance(event, Sound):
                yield event
            elif isinstance(event, Failed):
                raise ConnectionAbortedError(f"{event.code}: {event.message}")
            event = await speaking.next()
    finally:
        speaking.close()


async def _audio(speaking: EncodedSpeech, first: Sound, text: str) -> AsyncIterator[bytes]:
    async for sound in _sounds(speaking, first):
        if sound.data:
            speaking.sent()
            yield sound.data


async def _timed_whole(speaking: EncodedSpeech, first: Sound, text: str) -> AsyncIterator[bytes]:
    data = b""
    words: list[WordTime] = []
    async for sound in _sounds(speaking, first):
        data += sound.data
        words += sound.words
    times = CharTimes(text)
    spans = [times.spoken(words), times.rest()]
    speaking.sent()
    yield _timed(data, _joined(spans))


async def _timed_lines(speaking: EncodedSpeech, first: Sound, text: str) -> AsyncIterator[bytes]:
    """A line for each piece of audio; words that ended while the encoder held its bytes back come with the next."""
    times, span = CharTimes(text), Span()
    async for sound in _sounds(speaking, first):
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
