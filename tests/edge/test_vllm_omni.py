"""vLLM-Omni's speech stream: configuration, utterances, word times, cancel and errors."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.edge.toy import AsgiSocket, serving, word_pcm


def play(scenario: Callable[[AsgiSocket], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app, AsgiSocket(app, path="/v1/audio/speech/stream") as socket:
            await scenario(socket)

    asyncio.run(run())


def test_a_session_of_two_utterances() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say(
            "session.config", voice="slt", response_format="pcm", stream_audio=True, split_granularity="sentence"
        )
        assert await socket.recv() == {"type": "session.configured"}
        socket.say("input.text", text="one tw")
        start = {"type": "audio.start", "sentence_index": 0, "sentence_text": "one tw"}
        assert await socket.recv() == {**start, "format": "pcm", "sample_rate": 24_000}
        assert await socket.recv() == word_pcm("one")
        socket.say("input.text", text="o")
        socket.say("input.done")
        done = {"type": "audio.done", "sentence_index": 0, "total_bytes": 9_600, "error": False}
        assert await socket.hear("audio.done") == (word_pcm("two"), [done])
        socket.say("input.done")
        assert await socket.recv() == {**done, "sentence_index": 1, "total_bytes": 0}
        socket.say("input.text", text="three")
        socket.say("session.close")
        pcm, events = await socket.hear("close")
        assert pcm == word_pcm("three")
        assert [event["type"] for event in events] == ["audio.start", "audio.done", "session.done", "close"]
        assert events[-1]["code"] == 1000

    play(scenario)


def test_word_times_come_with_the_audio() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("session.config", word_timestamps=True)
        socket.say("input.text", text="one two")
        socket.say("input.commit")
        _, events = await socket.hear("audio.done")
        chunks = [event for event in events if event["type"] == "audio.chunk"]
        assert b"".join(base64.b64decode(chunk["audio_b64"]) for chunk in chunks) == word_pcm("one") + word_pcm("two")
        assert chunks[1]["timestamps"] == [{"word": "two", "start_ms": 100, "end_ms": 200}]
        assert (chunks[1]["chunk_start_ms"], chunks[1]["chunk_end_ms"]) == (100, 200)

    play(scenario)


def test_a_cancel_stops_what_speaks_and_waits() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("input.text", text="one two MUTE ")
        socket.say("input.done")
        socket.say("input.text", text="three ")
        for _ in range(3):
            await socket.recv()
        socket.say("input.cancel")
        socket.say("input.text", text="four")
        socket.say("input.done")
        pcm, events = await socket.hear("audio.cancelled")
        assert pcm == b""
        assert events[-1]["text_spoken"] + events[-1]["text_remaining"] == "one two MUTE three "
        assert (await socket.hear("audio.done"))[0] == word_pcm("four")

    play(scenario)


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("session.config", {"voice": "nemo"}, "unknown_voice"),
        ("session.config", {"model": "other"}, "unknown_model"),
        ("session.config", {"response_format": "opus", "sample_rate": 44_100}, "invalid_parameter"),
        ("input.text", {"text": 7}, "invalid_parameter"),
        ("input.text", {"text": "more than ten"}, "text_too_long"),
        ("input.text", {"text": "FAULT "}, "engine_fault"),
        ("shout", {}, "invalid_request"),
    ],
)
def test_an_error_leaves_the_session_open(kind: str, fields: dict[str, object], code: str) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say(kind, **fields)
        _, events = await socket.hear("error")
        assert events[-1]["code"] == code
        if code == "engine_fault":
            assert (await socket.hear("audio.done"))[1][-1]["error"] is True
        socket.say("input.text", text="one")
        socket.say("input.done")
        assert (await socket.hear("audio.done"))[0] == word_pcm("one")

    play(scenario, max_characters=10)


def test_what_is_not_json_closes() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.raw(text="{")
        assert (await socket.hear("close"))[1][-1]["code"] == 1007

    play(scenario)
