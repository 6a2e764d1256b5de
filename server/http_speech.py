"""`POST /v1/audio/speech`: OpenAI's form.

Audio is sent as it is made. What goes wrong before the first sample has a real status.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from engines.messages import Failed, Finished
from server.audio import MEDIA_TYPES, wav_header
from server.errors import ApiError
from server.schemas import SpeechBody, check_rate, speech_body
from server.state import State, state_of
from server.utterance import Spoken, Utterance

router = APIRouter()


@router.post("/v1/audio/speech", responses={200: {"content": {"audio/pcm": {}, "audio/wav": {}}}})
async def speech(request: Request) -> Response:
    received_s = time.monotonic()
    state = state_of(request)
    state.check_key(request)
    state.check_accepting()
    body = await _body(request, state)
    utterance = Utterance(
        state.engine,
        state.metrics,
        protocol="openai",
        voice=state.voice(body.voice_id),
        seed=body.seed,
        speed=body.speed,
        rate_hz=body.sample_rate,
        temperature=body.temperature,
    )
    state.live.add(utterance.id)
    try:
        utterance.append(body.input, received_s)
        utterance.end()
        first = await _first_audio(utterance)
    except BaseException:
        _close(state, utterance)
        raise
    headers = {"x-request-id": utterance.id, "x-seed": str(utterance.seed), "x-sample-rate": str(utterance.rate_hz)}
    audio = _audio(state, utterance, first, body.response_format)
    return StreamingResponse(audio, media_type=MEDIA_TYPES[body.response_format], headers=headers)


async def _body(request: Request, state: State) -> SpeechBody:
    try:
        payload = json.loads(await request.body())
    except ValueError as error:
        raise ApiError("invalid_request", f"the body is not JSON: {error}") from error
    body = speech_body(payload)
    state.check_model(body.model)
    state.check_speed(body.speed)
    check_rate(body.sample_rate)
    if not body.input.strip():
        raise ApiError("unspeakable_text", "input is empty; send at least one word", param="input")
    if len(body.input) > state.settings.max_characters:
        message = f"input has {len(body.input)} characters, the limit is {state.settings.max_characters}"
        raise ApiError("text_too_long", message, param="input")
    return body


async def _first_audio(utterance: Utterance) -> Spoken:
    while True:
        event = await utterance.next()
        if isinstance(event, Spoken):
            return event
        if isinstance(event, Failed):
            param = "input" if event.code in ("unspeakable_text", "invalid_text") else None
            raise ApiError(event.code, event.message, param=param, retry_after_s=event.retry_after_s)


async def _audio(state: State, utterance: Utterance, first: Spoken, container: str) -> AsyncIterator[bytes]:
    try:
        if container == "wav":
            yield wav_header(utterance.rate_hz)
        event: object = first
        while True:
            if isinstance(event, Spoken) and event.pcm:
                utterance.sent(event.pcm)
                yield event.pcm
            elif isinstance(event, Finished):
                rest = utterance.rest()
                if rest:
                    yield rest
                return
            elif isinstance(event, Failed):
                # Headers are out: cutting the connection is the only way left to say that audio is missing.
                raise ConnectionAbortedError(f"{event.code}: {event.message}")
            event = await utterance.next()
    finally:
        _close(state, utterance)


def _close(state: State, utterance: Utterance) -> None:
    utterance.close()
    state.live.discard(utterance.id)
