"""Wyoming's own client, as Home Assistant uses it: `describe`, a whole text, and text as a language model writes it."""

from __future__ import annotations

import asyncio

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from tests.clients.conftest import TEXT, Server, native

VOICE = SynthesizeVoice(name="slt")


async def heard(client: AsyncTcpClient, last: str) -> bytes:
    pcm, rates = b"", set()
    while (event := await client.read_event()) is not None and event.type != last:
        assert not Error.is_type(event.type), event
        if AudioStart.is_type(event.type):
            rates.add(AudioStart.from_event(event).rate)
        if AudioChunk.is_type(event.type):
            chunk = AudioChunk.from_event(event)
            rates.add(chunk.rate)
            pcm += chunk.audio
    assert event is not None, "closed before its end"
    assert rates == {24_000}
    return pcm


def test_describe(server: Server) -> None:
    async def run() -> Info:
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None
            return Info.from_event(event)

    (program,) = asyncio.run(run()).tts
    assert program.supports_synthesize_streaming
    assert [voice.name for voice in program.voices] == ["rms", "slt", "awb", "kal16"]


def test_whole(server: Server) -> None:
    async def run() -> bytes:
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            await client.write_event(Synthesize(text=TEXT, voice=VOICE).event())
            return await heard(client, AudioStop(timestamp=None).event().type)

    assert asyncio.run(run()) == native(server, voice="slt")


def test_streamed(server: Server) -> None:
    async def run() -> bytes:
        async with AsyncTcpClient("127.0.0.1", server.wyoming_port) as client:
            await client.write_event(SynthesizeStart(voice=VOICE).event())
            for word in TEXT.split():
                await client.write_event(SynthesizeChunk(text=word + " ").event())
            await client.write_event(Synthesize(text=TEXT, voice=VOICE).event())  # for servers that cannot stream
            await client.write_event(SynthesizeStop().event())
            return await heard(client, SynthesizeStopped().event().type)

    assert asyncio.run(run()) == native(server, voice="slt")
