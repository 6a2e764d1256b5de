"""`POST /v1/audio/speech`: OpenAI's form, as bytes or as server-sent events.

Audio is sent as it is made. What goes wrong before the first bytes has a real status; after them an event stream says
so in an event, and a stream of bytes is cut without its final chunk.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from engines.messages import Cancelled, Failed, Finished
from server.audio.formats import MEDIA_TYPES
from server.encoded_speech import EncodedSpeech, Sound, first_sound
from server.errors import ApiError
from server.openai_body import SpeechBody, speech_body
from server.state import State, state_of
from server.voice_names import resolved_voice

router = APIRouter()
_CONTENT: dict[str, dict[str, str]] = {media_type: {} for media_type in (*MEDIA_TYPES.values(), "text/event-stream")}


@router.post("/v1/audio/speech", responses={200: {"content": _CONTENT}})
async def speech(request: Request) -> Response:
    received_s = time.monotonic()
    state = state_of(request)
    try:
        state.check_key(request)
        state.check_accepting()
        body = speech_body(await request.body())
        speaking = _open(state, body, received_s)
    except ApiError as error:
        return error.response(f"req-{uuid.uuid4().hex}")
    try:
        first = await first_sound(speaking, "input")
    except ApiError as error:
        speaking.close()
        return error.response(speaking.id)
    except BaseException:
        speaking.close()
        raise
    headers = {
        "x-request-id": speaking.id,
        "x-seed": str(speaking.seed),
        "x-sample-rate": str(body.sample_rate),
        "x-speed": f"{body.effective_speed:g}",
    }
    if body.stream_format == "sse":
        headers["Cache-Control"] = "no-cache"
        events = _events(speaking, first, len(body.input))
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)
    return StreamingResponse(_audio(speaking, first), media_type=body.form.media_type, headers=headers)


def _open(state: State, body: SpeechBody, received_s: float) -> EncodedSpeech:
    state.check_model(body.model)
    voice = resolved_voice(state, body.voice_id)
    if len(body.input) > state.settings.max_characters:
        message = f"input has {len(body.input)} characters, the limit is {state.settings.max_characters}"
        raise ApiError("text_too_long", message, param="input")
    speaking = EncodedSpeech(
        state,
        protocol="openai",
        voice=voice,
        form=body.form,
        seed=body.seed,
        speed=body.effective_speed,
        temperature=body.temperature,
    )
    speaking.append(body.input, received_s)
    speaking.end()
    return speaking


async def _audio(speaking: EncodedSpeech, first: Sound) -> AsyncIterator[bytes]:
    try:
        event: object = first
        while not isinstance(event, Finished | Cancelled):
            if isinstance(event, Sound) and event.data:
                speaking.sent()
                yield event.data
            elif isinstance(event, Failed):
                # Headers are out: cutting the connection is the only way left to say that audio is missing.
                raise ConnectionAbortedError(f"{event.code}: {event.message}")
            event = await speaking.next()
    finally:
        speaking.close()


async def _events(speaking: EncodedSpeech, first: Sound, characters: int) -> AsyncIterator[bytes]:
    try:
        event: object = first
        while True:
            if isinstance(event, Sound) and event.data:
                speaking.sent()
                yield _event("speech.audio.delta", audio=base64.b64encode(event.data).decode())
            elif isinstance(event, Finished):
                steps = event.timings.lm_steps
                usage = {"input_tokens": characters, "output_tokens": steps, "total_tokens": characters + steps}
                yield _event("speech.audio.done", usage=usage)
                return
            elif isinstance(event, Failed):
                error = ApiError(event.code, event.message, retry_after_s=event.retry_after_s)
                yield _event("speech.audio.error", **error.body())
                return
            event = await speaking.next()
    finally:
        speaking.close()


def _event(kind: str, **fields: object) -> bytes:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n".encode()
