"""A model of one language: every dialect takes it in its own words, and names it to who asks for another."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.edge.toy import AsgiSocket, serving, word_pcm

RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
CARTESIA = {"model_id": "sonic-3", "voice": "rms", "output_format": RAW, "transcript": "one"}
ELEVEN = "/v1/text-to-speech/rms?output_format=pcm_24000"
WAYS = {
    "openai": ("/v1/audio/speech", {"input": "one", "response_format": "pcm", "language": "LANGUAGE"}),
    "elevenlabs": (ELEVEN, {"text": "one", "language_code": "LANGUAGE"}),
    "cartesia": ("/tts/bytes", CARTESIA | {"language": "LANGUAGE"}),
    "a locale": ("/tts/bytes", CARTESIA | {"locale": "LANGUAGE"}),
}


def _asked(path: str, body: dict[str, Any], language: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with serving() as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                filled = {name: language if value == "LANGUAGE" else value for name, value in body.items()}
                return await client.post(path, json=filled)

    return asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("language", ["en", "en-GB", "en_US", "English", "auto"])
def test_its_own(way: str, language: str) -> None:
    answer = _asked(*WAYS[way], language)
    assert (answer.status_code, answer.content) == (200, word_pcm("one"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("language", ["fi", "fr-CA", "klingon", ""])
def test_another(way: str, language: str) -> None:
    answer = _asked(*WAYS[way], language)
    assert answer.status_code == 400
    assert f"{language!r} is not spoken here; valid: auto, en" in answer.text


def test_a_way_to_sample_that_the_model_has_not() -> None:
    """Foreign clients send it to every provider."""
    answer = _asked("/v1/audio/speech", {"input": "one", "response_format": "pcm", "top_k": 5, "top_p": 0.5}, "")
    assert (answer.status_code, answer.content) == (200, word_pcm("one"))


@pytest.mark.parametrize("kind", ["start", "session.config"])
def test_on_a_socket(kind: str) -> None:
    path, names = "/v1/audio/speech/stream", tuple[str, ...]()
    if kind == "start":
        path, names = "/v1/audio/speech/ws", ("parlando.v1",)

    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, *names, path=path) as socket:
            socket.say(kind, language="fi")
            told = await socket.recv()
            assert isinstance(told, dict)
            assert "language 'fi' is not spoken here; valid: auto, en" in str(told)

    asyncio.run(scenario())
