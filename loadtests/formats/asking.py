"""How a text is asked for: OpenAI's HTTP in any format, and 24 kHz PCM through every protocol there is.

A stranger with a socket: the standard library's HTTP client and `websockets`. Everything is asked with a seed, so all
must be the same samples.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from loadtests.texts import STOCK, Kind

_WAV_HEADER_BYTES = 44
_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES_HZ = (8_000, 16_000, 24_000, 48_000)
_CODECS = ("pcm", "pcm_f32", "ulaw", "alaw", "wav", "flac", "mp3", "aac", "opus", "webm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A `response_format` at a sample rate."""

    codec: str
    rate_hz: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    text: str
    voice: str
    seed: int


FORMS = tuple(
    Form(codec=codec, rate_hz=rate_hz)
    for codec in _CODECS
    for rate_hz in (_OPUS_RATES_HZ if codec in ("opus", "webm") else _RATES_HZ)
)


def utterances(voices: list[str], count: int) -> list[Utterance]:
    """All different: short and medium texts in turn, each round in other voices."""
    texts = [one for one in STOCK if one.kind is not Kind.LONG]
    return [
        Utterance(
            text=texts[place % len(texts)].text,
            voice=voices[(place + place // len(texts)) % len(voices)],
            seed=texts[place % len(texts)].seed,
        )
        for place in range(count)
    ]


def voices(url: str) -> list[str]:
    status, body = _request(url, "GET", "/v1/audio/voices")
    if status != 200:
        raise RuntimeError(f"{url}/v1/audio/voices answered {status}")
    return [voice["id"] for voice in json.loads(body)["voices"]]


def spoken(url: str, utterance: Utterance, form: Form) -> bytes:
    """OpenAI's HTTP. Raises RuntimeError when it is refused."""
    body = {"input": utterance.text, "voice": utterance.voice, "seed": utterance.seed}
    return _posted(url, "/v1/audio/speech", body | {"response_format": form.codec, "sample_rate": form.rate_hz})


def native(url: str, utterance: Utterance, rate_hz: int, *, by_words: bool = False) -> list[bytes]:
    """`parlando.v1`: PCM, a chunk of the engine's to each message."""
    with _dialled(url, "/v1/audio/speech/ws", "parlando.v1") as socket:
        start = {"voice": utterance.voice, "seed": utterance.seed, "sample_rate": rate_hz, "words": False}
        _say(socket, type="start", **start)
        for piece in _words(utterance.text) if by_words else [utterance.text]:
            _say(socket, type="append", text=piece)
        _say(socket, type="end")
        return [message for message in _heard(socket, "done") if isinstance(message, bytes)]


def nari(url: str, utterance: Utterance) -> bytes:
    with _dialled(url, "/v1/audio/speech/ws", "nari.speech.v1") as socket:
        _say(socket, type="request.start", voice=utterance.voice, seed=utterance.seed)
        _say(socket, type="input_text.append", sequence=0, text=utterance.text)
        _say(socket, type="input_text.end", sequence=1)
        return b"".join(one for one in _heard(socket, "response.done") if isinstance(one, bytes))


def openai_events(url: str, utterance: Utterance) -> bytes:
    body = {
        "input": utterance.text,
        "voice": utterance.voice,
        "seed": utterance.seed,
        "response_format": "pcm",
        "stream_format": "sse",
    }
    events = [
        json.loads(line[5:]) for line in _posted(url, "/v1/audio/speech", body).split(b"\n") if line[:5] == b"data:"
    ]
    return b"".join(base64.b64decode(event.get("audio", "")) for event in events)


def eleven_http(url: str, utterance: Utterance, path: str, output_format: str = "pcm_24000") -> bytes:
    """`path` behind the voice; JSON answers are taken apart."""
    where = f"/v1/text-to-speech/{utterance.voice}{path}?output_format={output_format}"
    answer = _posted(url, where, {"text": utterance.text, "seed": utterance.seed})
    if not path.endswith("with-timestamps"):
        return answer
    return b"".join(base64.b64decode(json.loads(line)["audio_base64"]) for line in answer.splitlines() if line)


def eleven_socket(url: str, utterance: Utterance, kind: str) -> bytes:
    where = f"/v1/text-to-speech/{utterance.voice}/{kind}?output_format=pcm_24000&seed={utterance.seed}"
    multi = {"context_id": "a"} if kind.startswith("multi") else {}
    with _dialled(url, where) as socket:
        for piece in _words(utterance.text):
            _say(socket, text=piece, **multi)
        if multi:
            _say(socket, flush=True, **multi)
            _say(socket, close_context=True, **multi)
        else:
            _say(socket, text="")
        messages = [one for one in _heard(socket, "isFinal") if isinstance(one, dict)]
        return b"".join(base64.b64decode(one.get("audio") or "") for one in messages)


WAYS: dict[str, Callable[[str, Utterance], bytes]] = {
    "parlando.v1, whole": lambda url, one: b"".join(native(url, one, 24_000)),
    "parlando.v1, word by word": lambda url, one: b"".join(native(url, one, 24_000, by_words=True)),
    "nari.speech.v1": nari,
    "OpenAI, pcm": lambda url, one: spoken(url, one, Form(codec="pcm", rate_hz=24_000)),
    "OpenAI, wav": lambda url, one: spoken(url, one, Form(codec="wav", rate_hz=24_000))[_WAV_HEADER_BYTES:],
    "OpenAI, pcm as events": openai_events,
    "ElevenLabs": lambda url, one: eleven_http(url, one, ""),
    "ElevenLabs /stream": lambda url, one: eleven_http(url, one, "/stream"),
    "ElevenLabs /stream, wav": lambda url, one: eleven_http(url, one, "/stream", "wav_24000")[_WAV_HEADER_BYTES:],
    "ElevenLabs /with-timestamps": lambda url, one: eleven_http(url, one, "/with-timestamps"),
    "ElevenLabs /stream/with-timestamps": lambda url, one: eleven_http(url, one, "/stream/with-timestamps"),
    "ElevenLabs stream-input": lambda url, one: eleven_socket(url, one, "stream-input"),
    "ElevenLabs multi-stream-input": lambda url, one: eleven_socket(url, one, "multi-stream-input"),
}


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split()]


def _dialled(url: str, path: str, subprotocol: str | None = None) -> ClientConnection:
    offered = None if subprotocol is None else [Subprotocol(subprotocol)]
    return connect("ws" + url.removeprefix("http") + path, subprotocols=offered, compression=None)


def _say(socket: ClientConnection, **message: object) -> None:
    socket.send(json.dumps(message))


def _heard(socket: ClientConnection, last: str) -> Iterator[dict[str, Any] | bytes]:
    """Messages up to the one of type `last`, or that says `last` to be true."""
    while True:
        received = socket.recv(timeout=30)
        if isinstance(received, bytes):
            yield received
            continue
        message: dict[str, Any] = json.loads(received)
        if "error" in (message.get("type"), *message):
            raise RuntimeError(f"refused: {message}")
        yield message
        if message.get("type") == last or message.get(last):
            return


def _posted(url: str, path: str, body: dict[str, object]) -> bytes:
    status, answer = _request(url, "POST", path, json.dumps(body))
    if status != 200:
        raise RuntimeError(f"{path} answered {status}: {answer[:300]!r}")
    return answer


def _request(url: str, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
