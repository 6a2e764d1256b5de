"""`POST /v1/audio/speech`: OpenAI's form, as bytes or as server-sent events.

Audio is sent as it is made. What goes wrong before the first bytes has a real status; after them an event stream says
so in an event, and a stream of bytes is cut without its final chunk.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from engines.messages import Finished
from server.audio.formats import MEDIA_TYPES
from server.encoded_speech import EncodedSpeech, Sound
from server.errors import ApiError
from server.http_answer import SpeechResponse, cut, first_sound, sounds
from server.openai_body import SpeechBody, speech_body
from server.openapi import gives, takes
from server.state import State, state_of

router = APIRouter()


@router.post(
    "/v1/audio/speech",
    responses=gives(*MEDIA_TYPES.values(), "text/event-stream"),
    openapi_extra=takes(SpeechBody),
    response_class=Response,
)
async def speech(request: Request) -> Response:
    state = state_of(request)
    received_s, request_id = request.state.received_s, f"req-{uuid.uuid4().hex}"
    try:
        state.check_key(request)
        state.check_accepting()
        body = speech_body(await request.body())
        speaking = await _open(state, body, request_id)
        first = await first_sound(speaking, body.input, received_s, "input")
    except ApiError as error:
        state.refused(error)
        return error.response(request_id)
    headers = {**speaking.headers, "x-speed": f"{body.effective_speed:g}"}
    if body.stream_format == "sse":
        headers["Cache-Control"] = "no-cache"
        events = _events(speaking, first, len(body.input))
        return SpeechResponse(speaking, events, "text/event-stream", headers)
    return SpeechResponse(speaking, _audio(speaking, first), body.form.media_type, headers)


async def _open(state: State, body: SpeechBody, request_id: str) -> EncodedSpeech:
    state.check_model(body.model)
    state.check_length(len(body.input), "input")
    return EncodedSpeech(
        state,
        protocol="openai",
        casting=state.casting(body.voice_id, body.timbre),
        form=body.form,
        seed=body.seed,
        speed=body.effective_speed,
        pitch_semitones=body.pitch_semitones,
        temperature=body.temperature,
        pronunciations=await state.dictionaries.chosen(body.pronunciations, body.input),
        leading_silence=body.leading_silence,
        request_id=request_id,
        text_field="input",
    )


async def _audio(speaking: EncodedSpeech, first: Sound) -> AsyncIterator[bytes]:
    try:
        async for event in sounds(speaking, first):
            if isinstance(event, Sound) and event.data:
                speaking.sent()
                yield event.data
    except ApiError as error:
        raise cut(error) from error


async def _events(speaking: EncodedSpeech, first: Sound, characters: int) -> AsyncIterator[bytes]:
    try:
        async for event in sounds(speaking, first):
            if isinstance(event, Finished):
                steps = event.timings.lm_steps
                usage = {"input_tokens": characters, "output_tokens": steps, "total_tokens": characters + steps}
                yield _event("speech.audio.done", usage=usage)
            elif event.data:
                speaking.sent()
                yield _event("speech.audio.delta", audio=base64.b64encode(event.data).decode())
    except ApiError as error:
        yield _event("speech.audio.error", **error.body())


def _event(kind: str, **fields: object) -> bytes:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n".encode()
