"""Speech as one answer of known length: all of it is made before the first byte leaves.

For clients that cannot do without: HTTP/1.0 has no other sign that nothing is missing, a range counts from a known
end, and a WAV's header comes before its samples. What is held in memory for all of them together is bounded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from server.audio import wav_header
from server.audio.formats import AudioFormat, Codec
from server.errors import ApiError
from server.http.answer import audio_events
from server.http.byte_ranges import OutOfRange, byte_range, is_all
from server.http.held_bytes import HeldBytes
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.state import State

_PIECE_BYTES = 65_536  # handed to the socket at a time, so that a reader that stops is noticed
_WAV_HEADER_BYTES = 44


def wants_whole(request: Request, form: AudioFormat, *, stream: bool = True) -> bool:
    if not stream or request.scope["http_version"] == "1.0":
        return True
    asked = request.headers.get("range")
    if asked is None:
        return False
    # Formats without a size in their header may be sent as they are made to a client that asks for all of it.
    return form.codec is Codec.WAV or (request.method == "GET" and not is_all(asked))


async def whole_answer(
    request: Request, state: State, speech: EncodedSpeech, first: Audio, headers: Mapping[str, str]
) -> Response:
    """Raises ApiError, also when the speech fails on the way: no part of it is sent then."""
    held = HeldBytes(state.held)
    try:
        data = await _collected(speech, first, held)
        answer = _answered(request, speech, data, dict(headers), held)
    except BaseException:
        held.release()
        raise
    finally:
        speech.close()
    return answer


async def _collected(speech: EncodedSpeech, first: Audio, held: HeldBytes) -> bytearray:
    data = bytearray()
    async for event in audio_events(speech, first):
        if isinstance(event, Audio) and event.data:
            held.add(len(event.data))
            data += event.data
            speech.sent()
    if speech.form.codec is Codec.WAV:
        data[:_WAV_HEADER_BYTES] = wav_header(speech.form.rate_hz, len(data) - _WAV_HEADER_BYTES)
    return data


def _answered(
    request: Request, speech: EncodedSpeech, data: bytearray, headers: dict[str, str], held: HeldBytes
) -> Response:
    size, status, part = len(data), 200, range(len(data))
    if request.method == "GET":
        headers["Accept-Ranges"] = "bytes"
        if not (name := headers["x-utterance-id"]).startswith("near-"):
            headers["ETag"] = f'"{name}"'  # the same name is the same bytes
        try:
            if (asked := byte_range(_range_of(request, headers), size)) is not None:
                status, part = 206, asked
                headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        except OutOfRange:
            error = ApiError("range_not_satisfiable", f"the audio has {size} bytes, and none of the range asked for")
            answer = error.response(headers.get("x-request-id"))
            answer.headers["Content-Range"] = f"bytes */{size}"
            held.release()
            return answer
    headers["Content-Length"] = str(len(part))
    return _Held(data, part, held, status, speech.form.media_type, headers)


def _range_of(request: Request, headers: Mapping[str, str]) -> str | None:
    """None when it is of other audio than this."""
    if request.headers.get("if-range", headers.get("ETag")) != headers.get("ETag"):
        return None
    return request.headers.get("range")


class _Held(StreamingResponse):
    def __init__(
        self, data: bytearray, part: range, held: HeldBytes, status: int, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(_pieces(data, part), status, headers, media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._held.release()


async def _pieces(data: bytearray, part: range) -> AsyncIterator[bytes]:
    for start in range(part.start, part.stop, _PIECE_BYTES):
        yield bytes(data[start : min(part.stop, start + _PIECE_BYTES)])
