"""`/v1/audio/speech`: OpenAI's form, as bytes or as server-sent events, by POST or, for players, by URL.

Audio is sent as it is made. What goes wrong before the first bytes has a real status; after them an event stream says
so in an event, and a stream of bytes is cut without its final chunk.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from engines.messages import Finished
from server.audio.formats import MEDIA_TYPES
from server.errors import ApiError
from server.http.answer import SpeechResponse, audio_bytes, audio_events, first_audio
from server.http.dependencies import MAY_SPEAK, WITH_KEY, CurrentState, ReceivedS, body_as, check_accepting
from server.http.openapi import also, error_responses, query_parameters, request_body, speech_responses
from server.http.whole_answer import wants_whole, whole_answer
from server.protocols.openai.messages import SpeechBody, UrlBody, speech_body, speech_query, url_body
from server.protocols.openai.signed_urls import PATH, check_playing, signed_url
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.speech.model_options import chosen, follows_pace
from server.speech.resume import Resume, resume_header
from server.state import State

router = APIRouter()
_SPEECH = speech_responses(*MEDIA_TYPES.values(), "text/event-stream") | also("cannot_resume")
_PART = {206: {"description": "the part of it that `Range` asks for"}, **also("range_not_satisfiable")}


@router.post(
    PATH, dependencies=MAY_SPEAK, responses=_SPEECH, openapi_extra=request_body(SpeechBody), response_class=Response
)
async def speech(
    request: Request,
    state: CurrentState,
    received_s: ReceivedS,
    body: Annotated[SpeechBody, Depends(body_as(speech_body))],
) -> Response:
    return await _answer(request, state, body, received_s)


async def _may_play(request: Request, state: CurrentState) -> None:
    check_playing(state.access, request)


async def _query(request: Request) -> SpeechBody:
    return speech_query(dict(request.query_params))


@router.get(
    PATH,
    dependencies=[Depends(_may_play), Depends(check_accepting)],
    responses=_SPEECH | _PART,
    openapi_extra=query_parameters(SpeechBody),
    response_class=Response,
)
async def speech_by_url(
    request: Request, state: CurrentState, received_s: ReceivedS, body: Annotated[SpeechBody, Depends(_query)]
) -> Response:
    """For players: the fields of the body as parameters. The same URL is the same audio, so ranges of it fit."""
    if request.scope.get("is_head"):
        return StreamingResponse(iter(()), media_type=body.form.media_type)  # of no length yet: nothing is spoken
    body.seed = next(seed for seed in (body.seed, state.settings.seed, 0) if seed is not None)
    return await _answer(request, state, body, received_s)


@router.post(f"{PATH}/url", dependencies=WITH_KEY, responses=error_responses(), openapi_extra=request_body(UrlBody))
async def url(state: CurrentState, body: Annotated[UrlBody, Depends(body_as(url_body))]) -> JSONResponse:
    """A URL for a player that speaks this and is valid for a while."""
    state.check_model(body.model)
    state.chosen_voice(body.voice_id, body.timbre)
    state.check_text(body.input, "input")
    return JSONResponse({"url": signed_url(state.access, body.fields, body.expires_in_s)})


async def _answer(request: Request, state: State, body: SpeechBody, received_s: float) -> Response:
    """Raises ApiError."""
    resume = resume_header(request, body.form, body.input, body.seed)
    speaking = await _open(state, body, resume, f"req-{uuid.uuid4().hex}")
    first = await first_audio(speaking, body.input, received_s, "input")
    headers = {**speaking.headers, "x-speed": f"{_speed(state, body):g}"}
    if body.stream_format == "sse":
        headers["Cache-Control"] = "no-cache"
        events = _events(speaking, first, len(body.input))
        return SpeechResponse(speaking, events, "text/event-stream", headers)
    if wants_whole(request, body.form, stream=body.stream):
        return await whole_answer(request, state, speaking, first, headers)
    return SpeechResponse(speaking, audio_bytes(speaking, first), body.form.media_type, headers)


def _speed(state: State, body: SpeechBody) -> float:
    return body.effective_speed if follows_pace(state.spec) else body.speed


async def _open(state: State, body: SpeechBody, resume: Resume | None, request_id: str) -> EncodedSpeech:
    state.check_model(body.model)
    state.check_text(body.input, "input")
    return EncodedSpeech(
        state,
        protocol="openai",
        chosen_voice=state.chosen_voice(body.voice_id, body.timbre),
        form=body.form,
        seed=body.seed,
        speed=_speed(state, body),
        options=chosen(state, language=body.language, instruction=body.instructions, sampled=body.sampled),
        pitch_semitones=body.pitch_semitones,
        temperature=body.temperature,
        pronunciations=await state.dictionaries.chosen(body.pronunciations, body.input),
        leading_silence=body.leading_silence,
        resume=resume,
        request_id=request_id,
        text_field="input",
    )


async def _events(speaking: EncodedSpeech, first: Audio, characters: int) -> AsyncIterator[bytes]:
    try:
        async for event in audio_events(speaking, first):
            if isinstance(event, Finished):
                steps = event.timings.lm_steps
                usage = {"input_tokens": characters, "output_tokens": steps, "total_tokens": characters + steps}
                told = {"warnings": list(event.warnings)} if event.warnings else {}
                yield _event("speech.audio.done", usage=usage, **told)
            elif event.data:
                speaking.sent()
                yield _event("speech.audio.delta", audio=base64.b64encode(event.data).decode())
    except ApiError as error:
        yield _event("speech.audio.error", **error.body())


def _event(kind: str, **fields: object) -> bytes:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n".encode()
