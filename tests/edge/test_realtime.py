"""OpenAI's Realtime API as a voice: items, responses, cancel and truncation."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.audio.uncompressed import mu_law_table
from tests.edge.toy import AsgiSocket, serving, word_pcm


def play(scenario: Callable[[AsgiSocket], Awaitable[None]], query: str = "model=gpt-realtime", **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app, AsgiSocket(app, path="/v1/realtime", query=query) as socket:
            await scenario(socket)

    asyncio.run(run())


def create(socket: AsgiSocket, *texts: str, **item: object) -> None:
    for text in texts:
        content = [{"type": "input_text", "text": text}]
        socket.say("conversation.item.create", item={"type": "message", "role": "user", "content": content, **item})


async def hear(socket: AsgiSocket, last: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Audio, and the other events up to the first of a type."""
    audio, events = b"", []
    while True:
        event = await socket.recv()
        assert isinstance(event, dict)
        if event["type"] == "response.output_audio.delta":
            audio += base64.b64decode(event["delta"])
        else:
            events.append(event)
        if event["type"] == last:
            return audio, events


def test_a_response_speaks_the_items_before_it() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        created = await socket.recv()
        assert isinstance(created, dict)
        assert created["type"] == "session.created"
        assert created["session"]["audio"]["output"]["format"] == {"type": "audio/pcm"}
        create(socket, "one ", "two")
        create(socket, "not this", role="system")
        socket.say("response.create", response={"metadata": {"a": "b"}})
        audio, events = await hear(socket, "response.done")
        assert audio == word_pcm("one") + word_pcm("two")
        assert [event["type"] for event in events if not event["type"].startswith("conversation")] == [
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio_transcript.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        done = events[-1]["response"]
        assert (done["status"], done["metadata"]) == ("completed", {"a": "b"})
        assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "one two"}]
        deltas = [event["delta"] for event in events if event["type"] == "response.output_audio_transcript.delta"]
        assert "".join(deltas) == "one two"
        assert len({event["event_id"] for event in events}) == len(events)
        socket.say("response.create")  # nothing is left to say
        _, events = await hear(socket, "error")
        assert events[-1]["error"]["code"] == "unspeakable_text"
        content = [{"type": "input_text", "text": "three"}]
        socket.say("response.create", response={"input": [{"type": "message", "role": "user", "content": content}]})
        assert (await hear(socket, "response.done"))[0] == word_pcm("three")

    play(scenario)


def test_the_session_settles_voice_speed_and_format() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        output = {"format": {"type": "audio/pcmu"}, "voice": {"id": "slt"}}
        socket.say("session.update", session={"type": "realtime", "audio": {"output": output}})
        _, events = await hear(socket, "session.updated")
        assert events[-1]["session"]["audio"]["output"] == {**output, "speed": 1.0}
        create(socket, "one")
        socket.say("response.create")
        table, pcm = mu_law_table(), word_pcm("one", 8_000)
        wanted = bytes(int(table[int.from_bytes(pcm[:2], "little")]) for _ in range(len(pcm) // 2))
        assert (await hear(socket, "response.done"))[0] == wanted
        create(socket, "two")
        socket.say("response.create", response={"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}})
        assert (await hear(socket, "response.done"))[0] == word_pcm("two", 8_000)

    play(scenario)


def test_a_cancel_ends_a_response_and_the_next_starts_clean() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        create(socket, "one two MUTE")
        socket.say("response.create")
        for _ in range(2):
            await hear(socket, "response.output_audio_transcript.delta")
        socket.say("response.create")
        _, events = await hear(socket, "error")
        assert "in progress" in events[-1]["error"]["message"]
        socket.say("response.cancel")
        audio, events = await hear(socket, "response.done")
        assert audio == b""
        done = events[-1]["response"]
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        assert done["output"][0]["status"] == "incomplete"
        socket.say("response.cancel", event_id="mine")
        _, events = await hear(socket, "error")
        assert (events[-1]["error"]["code"], events[-1]["error"]["event_id"]) == ("invalid_request", "mine")
        create(socket, "three")
        socket.say("response.create")
        assert (await hear(socket, "response.done"))[0] == word_pcm("three")

    play(scenario)


@pytest.mark.parametrize("text", ["one two three MUTE", "one two three"])  # in progress, and sent whole
def test_a_truncation_tells_what_was_heard(text: str) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        create(socket, text)
        socket.say("response.create")
        for _ in range(3):
            _, events = await hear(socket, "response.output_audio_transcript.delta")
        item = events[-1]["item_id"]
        if "MUTE" not in text:
            await hear(socket, "response.done")
        socket.say("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=9_000)
        _, events = await hear(socket, "error")
        assert "300 ms" in events[-1]["error"]["message"]
        socket.say("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=250)
        audio, events = await hear(socket, "conversation.item.truncated")
        assert audio == b""
        assert (events[-1]["audio_end_ms"], events[-1]["transcript"]) == (250, "one two")
        if "MUTE" in text:
            assert events[-2]["response"]["output"][0]["content"][0]["transcript"] == "one two"
        socket.say("conversation.item.truncate", item_id="nothing", content_index=0, audio_end_ms=0)
        _, events = await hear(socket, "error")
        assert "nothing" in events[-1]["error"]["message"]

    play(scenario)


def test_clearing_the_buffer_is_a_cancel() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        create(socket, "one MUTE")
        socket.say("response.create")
        await hear(socket, "response.output_audio_transcript.delta")
        socket.say("output_audio_buffer.clear")
        _, events = await hear(socket, "output_audio_buffer.cleared")
        assert events[-2]["response"]["status"] == "cancelled"
        assert events[-1]["response_id"] == events[-2]["response"]["id"]

    play(scenario)


def test_a_response_that_fails_says_so() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        create(socket, "one FAULT")
        socket.say("response.create")
        _, events = await hear(socket, "response.done")
        done = events[-1]["response"]
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "engine_fault")

    play(scenario)


@pytest.mark.parametrize(
    ("kind", "fields", "names"),
    [
        ("input_audio_buffer.append", {"audio": ""}, "input_audio_buffer.append"),
        ("session.update", {"session": {"audio": {"output": {"voice": "nemo"}}}}, "nemo"),
        ("session.update", {"session": {"audio": {"output": {"format": {"type": "audio/mp3"}}}}}, "audio/mp3"),
        ("session.update", {"session": {"audio": {"output": {"format": {"rate": 11_025}}}}}, "11025"),
        ("session.update", {"session": {"output_modalities": ["text"]}}, "text"),
        ("conversation.item.create", {"item": {"type": "function_call"}}, "function_call"),
        ("response.create", {"response": {"seed": -1}}, "-1"),
    ],
)
def test_an_error_leaves_the_session_as_it_is(kind: str, fields: dict[str, object], names: str) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say(kind, **fields)
        _, events = await hear(socket, "error")
        assert names in events[-1]["error"]["message"]
        create(socket, "one")
        socket.say("response.create")
        assert (await hear(socket, "response.done"))[0] == word_pcm("one")

    play(scenario)


def test_an_unknown_model_is_refused() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        _, events = await hear(socket, "close")
        assert events[0]["error"]["code"] == "unknown_model"

    play(scenario, query="model=other")


def test_a_browsers_key_is_among_its_subprotocols() -> None:
    async def run() -> None:
        offered = ("realtime", "openai-insecure-api-key.k")
        async with serving(api_keys="k") as app, AsgiSocket(app, *offered, path="/v1/realtime") as socket:
            assert socket.subprotocol == "realtime"
            await socket.hear("session.created")

    asyncio.run(run())


def test_a_refused_response_is_not_in_progress() -> None:
    async def run() -> None:
        settings = {"api_keys": "k", "key_characters_per_minute": 5}
        key = {"authorization": "Bearer k"}
        async with serving(**settings) as app, AsgiSocket(app, path="/v1/realtime", **key) as socket:
            create(socket, "one two")
            socket.say("response.create")
            await socket.hear("response.done")
            create(socket, "three")
            for _ in range(2):
                socket.say("response.create")
                _, events = await socket.hear("error")
                assert events[-1]["error"]["code"] == "quota_exceeded"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("response.create", {"response": {"metadata": {"a": "x\ud800"}}}),
        ("conversation.item.create", {"item": {"content": [{"type": "input_text", "text": "x\ud800"}]}}),
    ],
)
def test_half_a_surrogate_pair_is_refused_by_name(kind: str, fields: dict[str, Any]) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        create(socket, "one")
        socket.say(kind, **fields)
        _, events = await socket.hear("error")
        assert "surrogate" in events[-1]["error"]["message"]
        socket.say("response.create")
        assert (await hear(socket, "response.done"))[0] == word_pcm("one")

    play(scenario)
