"""OpenAI's Python SDK."""

from __future__ import annotations

import asyncio
import base64
import json

import openai
import pytest

from tests.audio.signals import decoded
from tests.clients.conftest import ENTRIES, RESPELT, SEED, TEXT, Server, likeness, native


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)


@pytest.mark.parametrize("form", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_every_format_is_the_native_speech(client: openai.OpenAI, server: Server, form: str) -> None:
    answer = client.audio.speech.create(input=TEXT, model="gpt-4o-mini-tts", voice="ash", response_format=form)  # type: ignore[arg-type]
    if form in ("wav", "pcm"):
        assert answer.content[44 if form == "wav" else 0 :] == native(server)
        return
    heard, rate_hz = decoded(answer.content)
    assert likeness(heard, native(server, rate_hz=rate_hz)) > 0.97


def test_streamed_bytes_are_the_native_speech(client: openai.OpenAI, server: Server) -> None:
    asked = {"input": TEXT, "model": "tts-1", "voice": "alloy", "response_format": "pcm", "extra_body": {"seed": SEED}}
    with client.audio.speech.with_streaming_response.create(**asked) as stream:  # type: ignore[arg-type]
        parts = list(stream.iter_bytes())
        assert stream.request_id is not None
    assert len(parts) > 1
    assert b"".join(parts) == native(server, voice="slt")


def test_events(client: openai.OpenAI, server: Server) -> None:
    asked = {"input": TEXT, "model": "tts-1", "voice": "ash", "response_format": "pcm", "extra_body": {"seed": SEED}}
    with client.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as stream:  # type: ignore[arg-type]
        lines = [line for line in stream.iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert audio == native(server)
    assert events[-1]["usage"]["total_tokens"] > 0


def test_async_stream(server: Server) -> None:
    async def run() -> int:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            created = client.audio.speech.with_streaming_response.create(input=TEXT, model="tts-1", voice="verse")
            async with created as stream:
                return sum([len(part) async for part in stream.iter_bytes()])

    assert asyncio.run(run()) > 5_000


def test_errors_are_its_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.audio.speech.create(input=TEXT, model="tts-1", voice="nobody")
    assert bad.value.param == "voice"
    assert bad.value.request_id
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(input=TEXT, model="gpt-9", voice="alloy")
    assert missing.value.code == "unknown_model"


def test_models(client: openai.OpenAI) -> None:
    assert "tts-1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("tts-1").id == "tts-1"
    with pytest.raises(openai.NotFoundError, match="valid: "):
        client.models.retrieve("gpt-9")


@pytest.mark.parametrize("asked", [{"entries": ENTRIES}, {"dictionaries": ["names"]}])
def test_pronunciations(client: openai.OpenAI, server: Server, asked: dict[str, object]) -> None:
    answer = client.audio.speech.create(
        input=TEXT, model="tts-1", voice="ash", response_format="pcm", extra_body={"pronunciations": asked}
    )
    assert answer.content == native(server, RESPELT)
