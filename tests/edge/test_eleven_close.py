"""ElevenLabs' `close_context` over a toy engine: what was flushed is finished, behind all other streams."""

from __future__ import annotations

import asyncio
import base64
import json

from tests.edge.toy import AsgiSocket, ToyEngine, serving, word_pcm

PATH = "/v1/text-to-speech/rms/multi-stream-input"
QUERY = "output_format=pcm_24000"


async def finished(socket: AsgiSocket) -> bytes:
    heard = b""
    while True:
        message = await socket.recv()
        assert not isinstance(message, bytes)
        heard += base64.b64decode(message.get("audio", ""))
        if message.get("isFinal"):
            return heard


def test_a_closing_context_stands_back_and_speaks_what_was_flushed() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app, AsgiSocket(app, path=PATH, query=QUERY) as socket:
            for message in (
                {"text": "one two ", "flush": True},
                {"text": "dropped ", "flush": False},
                {"close_context": True},
            ):
                socket.raw(text=json.dumps({**message, "context_id": "a"}))
            assert await finished(socket) == word_pcm("one") + word_pcm("two")
            assert await asyncio.to_thread(toy.stood_back.wait, 10)

    asyncio.run(scenario())


def test_the_end_of_a_single_stream_does_not_stand_back() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        path = PATH.replace("multi-stream-input", "stream-input")
        async with serving(toy) as app, AsgiSocket(app, path=path, query=QUERY) as socket:
            for text in ("one two ", ""):
                socket.raw(text=json.dumps({"text": text}))
            assert await finished(socket) == word_pcm("one") + word_pcm("two")
            assert not toy.stood_back.is_set()

    asyncio.run(scenario())


def test_a_wait_before_the_flushed_text_is_not_its_end() -> None:
    """The reader is slow: what tells that all was spoken was told before the text came."""

    async def scenario() -> None:
        async with serving() as app, AsgiSocket(app, path=PATH, query=QUERY) as socket:
            socket.read.clear()
            for message in (
                {"text": "one ", "flush": True},
                {"text": "two three ", "flush": True},
                {"text": "dropped "},
            ):
                socket.raw(text=json.dumps({**message, "context_id": "a"}))
                await asyncio.sleep(0.1)
            socket.raw(text=json.dumps({"close_context": True, "context_id": "a"}))
            await asyncio.sleep(0.1)
            socket.read.set()
            assert await finished(socket) == b"".join(map(word_pcm, ("one", "two", "three")))

    asyncio.run(scenario())
