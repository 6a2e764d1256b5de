"""`nari.speech.v1` to the letter: every message whole, every close code."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.edge.toy import AsgiSocket, ToyEngine, serving, word_pcm

AUDIO = {"encoding": "pcm_s16le", "sample_rate": 24000, "channels": 1}
CREATED = {"type": "session.created", "protocol": "nari.speech.v1", "audio": AUDIO}
CLOSED = {"type": "close", "code": 1000, "reason": "response.done"}


def play(scenario: Callable[[AsgiSocket], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app, AsgiSocket(app, "nari.speech.v1") as socket:
            assert socket.subprotocol == "nari.speech.v1"
            assert await socket.recv() == CREATED
            await scenario(socket)

    asyncio.run(run())


def test_a_request_from_start_to_close() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("request.start", model="default", voice="rms", language="English", response_format="pcm")
        assert await socket.recv() == {"type": "request.configured"}
        socket.say("input_text.append", sequence=0, text="one ")
        started = await socket.recv()
        assert isinstance(started, dict)
        request_id = started["request_id"]
        assert re.fullmatch(r"\S+", request_id)
        assert started == {"type": "response.started", "request_id": request_id, "audio": AUDIO}
        socket.say("input_text.append", sequence=1, text="two")
        socket.say("input_text.end", sequence=2)
        pcm, events = await socket.hear("close")
        assert pcm == word_pcm("one") + word_pcm("two")
        ack = {"type": "input_text.ack", "request_id": request_id}
        assert events == [
            {**ack, "event": "input_text.append", "sequence": 0},
            {**ack, "event": "input_text.append", "sequence": 1},
            {**ack, "event": "input_text.end", "sequence": 2},
            {"type": "response.done", "request_id": request_id, "stop_reason": "stop", "audio_chunks": 2},
            CLOSED,
        ]

    play(scenario)


@pytest.mark.parametrize("ended", [False, True])
def test_cancel_at_any_time_is_the_end(ended: bool) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("request.start")
        socket.say("input_text.append", sequence=0, text="one two MUTE")
        if ended:
            socket.say("input_text.end", sequence=1)
        chunks = 0
        while chunks < 2:
            chunks += isinstance(await socket.recv(), bytes)
        socket.say("response.cancel")
        rest, events = await socket.hear("close")
        assert rest == b""
        assert (events[-2]["stop_reason"], events[-2]["audio_chunks"]) == ("cancelled", 2)
        assert events[-1] == CLOSED

    play(scenario)


def test_cancel_before_any_text() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("request.start")
        socket.say("response.cancel")
        _, events = await socket.hear("close")
        request_id = events[1]["request_id"]
        assert request_id
        done = {"type": "response.done", "request_id": request_id, "stop_reason": "cancelled", "audio_chunks": 0}
        assert events == [{"type": "request.configured"}, done, CLOSED]

    play(scenario)


APPEND: dict[str, Any] = {"type": "input_text.append", "sequence": 0, "text": "one "}
START: dict[str, Any] = {"type": "request.start"}


@pytest.mark.parametrize(
    ("messages", "code", "close", "says"),
    [
        ([{"type": "sing"}], "unknown_event", 1008, "sing"),
        ([{"no": "type"}], "unknown_event", 1008, "valid"),
        ([APPEND], "invalid_request", 1008, "before 'request.start'"),
        ([{"type": "response.cancel"}], "invalid_request", 1008, "before"),
        ([START, START], "invalid_request", 1008, "already"),
        ([{**START, "colour": "red"}], "invalid_request", 1008, "colour"),
        ([{**START, "voice": "nobody"}], "unknown_voice", 1008, "valid: rms"),
        ([{**START, "model": "gpt-9"}], "unknown_model", 1008, "valid: flite, default"),
        ([{**START, "language": "klingon"}], "invalid_request", 1008, "valid: auto"),
        ([{**START, "instruct": "a", "instructions": "b"}], "invalid_request", 1008, "only one"),
        ([START, {**APPEND, "sequence": 1}], "invalid_sequence", 1008, "expected sequence 0, got 1"),
        ([START, APPEND, APPEND], "invalid_sequence", 1008, "expected sequence 1, got 0"),
        ([START, {**APPEND, "text": ""}], "invalid_request", 1008, "text"),
        ([START, {**APPEND, "text": "x" * 300}], "input_too_large", 1009, "limit is 256"),
        ([START, {"type": "input_text.end", "sequence": 0}], "empty_input", 1008, "before any"),
        ([START, {**APPEND, "text": " "}, {"type": "input_text.end", "sequence": 1}], "empty_input", 1008, "letter"),
        ([START, APPEND, {"type": "input_text.end", "sequence": 1}, {**APPEND, "sequence": 2}], None, 0, ""),
        ([START, {**APPEND, "text": "FAULT "}], "generation_failed", 1011, "finite"),
        ([START, {**APPEND, "text": "RAISE "}], "generation_failed", 1011, "try again"),
    ],
)
def test_errors_are_told_and_close(messages: list[dict[str, Any]], code: str | None, close: int, says: str) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        for message in messages:
            socket.say(**{"kind": message.get("type", "?"), **{k: v for k, v in message.items() if k != "type"}})
        _, events = await socket.hear("close")
        if code is None:  # text behind its end is an error unless the utterance was faster
            assert events[-1]["code"] in (1000, 1008)
            return
        error = events[-2]
        assert (error["type"], error["error"]["code"], events[-1]["code"]) == ("error", code, close)
        assert says in error["error"]["message"]
        kind = "generation_error" if close == 1011 else "invalid_request_error"
        assert error["error"]["type"] == kind
        configured = any(event["type"] == "request.configured" for event in events)
        assert (error["request_id"] is not None) == configured

    play(scenario, max_characters=256)


def test_rubbish_and_silence_close_with_their_codes() -> None:
    async def rubbish(socket: AsgiSocket) -> None:
        socket.raw(text="{")
        _, events = await socket.hear("close")
        assert (events[-2]["error"]["code"], events[-1]["code"]) == ("invalid_request", 1008)

    async def silence(socket: AsgiSocket) -> None:
        _, events = await socket.hear("close")
        assert (events[-2]["error"]["code"], events[-1]["code"]) == ("input_timeout", 1008)

    play(rubbish)
    play(silence, idle_s=0.05)


def test_a_lost_connection_stops_the_utterance() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy) as app:
            async with AsgiSocket(app, "nari.speech.v1") as socket:
                socket.say("request.start")
                socket.say("input_text.append", sequence=0, text="one ")
                await socket.hear("response.started")
            async with AsgiSocket(app, "parlando.v1") as other:  # the cancel went before its text
                other.say("append", text="next")
                other.say("end")
                await other.hear("done")
            assert not toy.voices

    asyncio.run(scenario())
