"""LiveKit's plugins, outside a room: text in, frames out."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import numpy as np
import pytest
from livekit.agents import tts
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.plugins import cartesia, deepgram, elevenlabs, openai

from tests.clients.conftest import TEXT, Server, likeness, native


async def synthesised(speaker: tts.TTS) -> bytes:
    """In one piece, by `synthesize`."""
    async with speaker.synthesize(TEXT) as stream:
        return b"".join([bytes(event.frame.data) async for event in stream])


async def streamed(speaker: tts.TTS) -> tuple[bytes, str]:
    """Word by word, with what the words that came back say."""
    pcm, transcript = b"", ""
    async with speaker.stream() as stream:
        for word in TEXT.split():
            stream.push_text(word + " ")
        stream.end_input()
        async for event in stream:
            pcm += bytes(event.frame.data)
            transcript += "".join(event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, []))
    return pcm, transcript


@pytest.mark.parametrize("model", ["gpt-4o-mini-tts", "tts-1"])  # as events, and as bytes
@pytest.mark.parametrize("form", ["pcm", "mp3"])
def test_openai(server: Server, model: str, form: str) -> None:
    async def run() -> bytes:
        speaker = openai.TTS(
            base_url=f"{server.url}/v1",
            api_key="any",
            model=model,
            voice="ash",
            response_format=form,  # type: ignore[arg-type]
        )
        try:
            return await synthesised(speaker)
        finally:
            await speaker.aclose()

    heard = asyncio.run(run())
    if form == "pcm":
        assert heard[: len(native(server))] == native(server)
    else:
        assert likeness(np.frombuffer(heard, "<i2").astype(np.float64), native(server)) > 0.97


@pytest.mark.parametrize(("encoding", "rate_hz"), [("pcm_24000", 24_000), ("mp3_22050_32", 22_050)])
@pytest.mark.parametrize("auto_mode", [True, False])
@pytest.mark.parametrize("word_by_word", [True, False])
def test_elevenlabs(server: Server, encoding: Any, rate_hz: int, auto_mode: bool, word_by_word: bool) -> None:
    async def run() -> tuple[bytes, str]:
        async with aiohttp.ClientSession() as session:
            speaker = elevenlabs.TTS(
                voice_id="rms",
                api_key="any",
                base_url=f"{server.url}/v1",
                encoding=encoding,
                auto_mode=auto_mode,
                http_session=session,
            )
            try:
                return await streamed(speaker) if word_by_word else (await synthesised(speaker), "")
            finally:
                await speaker.aclose()

    heard, transcript = asyncio.run(run())
    assert transcript.split() == (TEXT.split() if word_by_word else [])
    wanted = native(server, rate_hz=rate_hz)
    if encoding == "pcm_24000":
        assert heard[: len(wanted)] == wanted
    else:
        assert likeness(np.frombuffer(heard, "<i2").astype(np.float64), wanted) > 0.95


def test_elevenlabs_lists_voices(server: Server) -> None:
    async def run() -> list[str]:
        async with aiohttp.ClientSession() as session:
            speaker = elevenlabs.TTS(api_key="any", base_url=f"{server.url}/v1", http_session=session)
            return [voice.id for voice in await speaker.list_voices()]

    assert asyncio.run(run()) == ["rms", "slt", "awb", "kal16"]


@pytest.mark.parametrize(("kind", "path"), [(deepgram.TTS, "/v1/speak"), (deepgram.TTSv2, "/v2/speak")])
@pytest.mark.parametrize("word_by_word", [True, False])
def test_deepgram(server: Server, kind: Any, path: str, word_by_word: bool) -> None:
    async def run() -> bytes:
        async with aiohttp.ClientSession() as session:
            speaker = kind(api_key="any", base_url=f"{server.url}{path}", http_session=session)
            try:
                return (await streamed(speaker))[0] if word_by_word else await synthesised(speaker)
            finally:
                await speaker.aclose()

    wanted = native(server)
    assert asyncio.run(run())[: len(wanted)] == wanted


@pytest.mark.parametrize("word_by_word", [True, False])
def test_cartesia(server: Server, word_by_word: bool) -> None:
    async def run() -> tuple[bytes, str]:
        async with aiohttp.ClientSession() as session:
            speaker = cartesia.TTS(api_key="any", base_url=server.url, voice="rms", http_session=session)
            try:
                return await streamed(speaker) if word_by_word else (await synthesised(speaker), "")
            finally:
                await speaker.aclose()

    heard, transcript = asyncio.run(run())
    wanted = native(server)
    assert heard[: len(wanted)] == wanted
    assert transcript.split() == (TEXT.split() if word_by_word else [])
