"""How an utterance becomes the answer to one HTTP request: its first bytes, the sounds that follow, and the end.

Until the first bytes everything that goes wrong has a status of its own. Whatever ends the answer closes the
utterance: its last byte, a client that left, a reader that does not read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from engines.messages import Cancelled, Failed, Finished, WordTime
from server.errors import ApiError
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio, SpeechEvent


class SpeechResponse(StreamingResponse):
    """Closes the speech deterministically: a generator that is dropped is closed only some time later."""

    def __init__(
        self, speech: EncodedSpeech, content: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._speech = speech

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._speech.close()


async def first_audio(speech: EncodedSpeech, text: str, received_s: float, param: str) -> Audio:
    """Speaks a whole text and returns its first bytes. Raises ApiError; the speech is then closed."""
    try:
        speech.append(text, received_s)
        speech.end()
        return await _first_bytes(speech, param)
    except BaseException:  # the request's end by cancellation too
        speech.close()
        raise


async def _first_bytes(speech: EncodedSpeech, param: str) -> Audio:
    words: tuple[WordTime, ...] = ()
    while True:
        event = await speech.next()
        match event:
            case Audio(data=data):
                words += event.words
                if data:
                    return Audio(data=data, words=words)
            case Failed(code=code):
                raise ApiError.of(event, param=param if code in ("unspeakable_text", "invalid_text") else None)
            case Finished() if speech.is_resumed:
                return Audio(data=b"", words=words)
            case Finished() | Cancelled():
                raise ApiError("internal_error", "the utterance ended without a sound")


async def audio_events(speech: EncodedSpeech, first: Audio) -> AsyncIterator[Audio | Finished]:
    """From the first sound to `Finished`. Raises ApiError when the engine fails on the way."""
    event: SpeechEvent = first
    while True:
        match event:
            case Audio():
                yield event
            case Finished():
                yield event
                return
            case Failed():
                raise ApiError.of(event)
        event = await speech.next()


async def audio_bytes(speech: EncodedSpeech, first: Audio) -> AsyncIterator[bytes]:
    """The same, as the body of an answer."""
    try:
        async for event in audio_events(speech, first):
            if isinstance(event, Audio) and event.data:
                speech.sent()
                yield event.data
    except ApiError as error:
        raise aborted(error) from error


def aborted(error: ApiError) -> ConnectionAbortedError:
    """Headers are out: cutting the connection is the only way left to say that audio is missing."""
    return ConnectionAbortedError(f"{error.code}: {error.message}")
