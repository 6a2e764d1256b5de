"""Cartesia's doors: bytes, events, voices, and contexts on the WebSocket."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from engines.messages import WordTime
from server.protocols.cartesia.words import WordTimes
from tests.edge.toy import WORD_S, AsgiSocket, serving, word_pcm

RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000}
ASKED = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "rms"}, "output_format": RAW}


def ask(
    path: str = "/tts/bytes", method: str = "POST", settings: Any = None, headers: Any = None, **body: Any
) -> httpx.Response:
    async def run() -> httpx.Response:
        async with serving(**(settings or {})) as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.request(method, path, json=body or None, headers=headers)

    return asyncio.run(run())


def test_bytes_in_each_container() -> None:
    pcm = word_pcm("one") + word_pcm("two")
    raw = ask(**ASKED, transcript="one two")
    assert (raw.status_code, raw.headers["content-type"]) == (200, "audio/pcm;rate=24000;channels=1")
    assert raw.content == pcm
    plain_voice = ask(**ASKED | {"voice": "rms", "language": "en"}, transcript="one two")
    assert plain_voice.content == pcm
    for encoding, tag, size in (("pcm_s16le", 1, 2), ("pcm_f32le", 3, 4), ("pcm_mulaw", 7, 1), ("pcm_alaw", 6, 1)):
        form = {"container": "wav", "encoding": encoding, "sample_rate": 24_000}
        wav = ask(**ASKED | {"output_format": form}, transcript="one two")
        assert wav.headers["content-type"] == "audio/wav"
        assert struct.unpack("<HHI", wav.content[20:28]) == (tag, 1, 24_000)
        assert len(wav.content) == 44 + size * len(pcm) // 2
    mp3 = ask(
        **ASKED | {"output_format": {"container": "mp3", "sample_rate": 24_000, "bit_rate": 64_000}}, transcript="one"
    )
    assert (mp3.headers["content-type"], mp3.content[:1]) == ("audio/mpeg", b"\xff")


def test_events() -> None:
    answer = ask("/tts/sse", **ASKED, transcript="one two", add_timestamps=True, context_id="a")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    kinds = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds == [event["type"] for event in events] == ["chunk", "timestamps", "chunk", "timestamps", "done"]
    chunks = [event for event in events if event["type"] == "chunk"]
    assert b"".join(base64.b64decode(chunk["data"]) for chunk in chunks) == word_pcm("one") + word_pcm("two")
    assert events[3]["word_timestamps"] == {"words": ["two"], "start": [WORD_S], "end": [2 * WORD_S]}
    assert [event["done"] for event in events] == [False] * 4 + [True]
    assert {event["context_id"] for event in events} == {"a"}


@pytest.mark.parametrize(
    ("change", "status", "code", "names"),
    [
        ({"voice": {"id": "nemo"}}, 400, "unknown_voice", "nemo"),
        ({"voice": {"mode": "embedding", "embedding": [1.0]}}, 400, "invalid_parameter", "voice"),
        ({"model_id": "other"}, 404, "unknown_model", "other"),
        ({"language": "fi"}, 400, "invalid_parameter", "fi"),
        ({"output_format": RAW | {"sample_rate": 11_025}}, 400, "invalid_parameter", "11025"),
        ({"output_format": {"container": "raw", "sample_rate": 8_000}}, 400, "invalid_parameter", "pcm_s16le"),
        ({"generation_config": {"speed": 9}}, 400, "invalid_parameter", "9"),
        ({"pronunciation_dict_id": "none"}, 400, "unknown_dictionary", "none"),
        ({"transcript": " "}, 400, "unspeakable_text", "empty"),
        ({"transcript": "more than ten"}, 413, "text_too_long", "10"),
    ],
)
@pytest.mark.parametrize("path", ["/tts/bytes", "/tts/sse"])
def test_errors_are_cartesias(path: str, change: dict[str, Any], status: int, code: str, names: str) -> None:
    answer = ask(path, settings={"max_characters": 10}, **{"transcript": "one", **ASKED, **change})
    body = answer.json()
    assert (answer.status_code, body["error_code"], body["status_code"]) == (status, code, status)
    assert names in body["message"]
    assert body["request_id"] == answer.headers["x-request-id"]


def test_guards_speak_cartesias_words() -> None:
    assert ask(settings={"api_keys": "a"}, **ASKED, transcript="one").json()["error_code"] == "invalid_api_key"
    assert ask("/tts/nothing", settings={}, a=1).json()["error_code"] == "not_found"
    cloning = ask("/infill/bytes", headers={"Cartesia-Version": "2026-08-14"}, a=1)  # a path of theirs that is not here
    assert (cloning.status_code, cloning.json()["error_code"], cloning.json()["status_code"]) == (404, "not_found", 404)


def test_voices_come_in_pages() -> None:
    def page(query: str) -> tuple[list[str], bool]:
        answer = ask(f"/voices?{query}", "GET").json()
        return [voice["id"] for voice in answer["data"]], answer["has_more"]

    assert page("") == (["rms", "slt", "awb", "kal16"], False)
    assert page("limit=3") == (["rms", "slt", "awb"], True)
    assert page("limit=3&starting_after=awb") == (["kal16"], False)
    assert page("limit=1&ending_before=awb") == (["slt"], True)
    assert page("starting_after=kal16") == ([], False)
    assert page("q=slt") == (["slt"], False)
    assert ask("/voices?limit=0", "GET").json()["error_code"] == "invalid_parameter"
    assert ask("/voices?starting_after=nemo", "GET").json()["error_code"] == "unknown_voice"
    assert ask("/voices/slt", "GET").json()["id"] == "slt"
    assert ask("/voices/rms+slt", "GET").json()["id"] == "rms+slt"
    missing = ask("/voices/nemo", "GET")
    assert (missing.status_code, missing.json()["error_code"]) == (404, "not_found")
    assert "nemo" in missing.json()["message"]


def play(scenario: Callable[[AsgiSocket], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app, AsgiSocket(app, path="/tts/websocket") as socket:
            await scenario(socket)

    asyncio.run(run())


def say(socket: AsgiSocket, context: str, text: str, more: bool = True, **fields: object) -> None:
    socket.raw(text=json.dumps({**ASKED, "context_id": context, "transcript": text, "continue": more, **fields}))


async def hear(socket: AsgiSocket, *last: str) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Audio by context, and the other events, until one of the given types."""
    pcm: dict[str, bytes] = {}
    events = []
    while True:
        event = await socket.recv()
        assert isinstance(event, dict)
        if event["type"] == "chunk":
            pcm[event["context_id"]] = pcm.get(event["context_id"], b"") + base64.b64decode(event["data"])
            assert (event["done"], event["status_code"]) == (False, 206)
        else:
            events.append(event)
        if event["type"] in last:
            return pcm, events


def test_a_context_from_first_text_to_done() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one tw", add_timestamps=True)
        assert (await hear(socket, "timestamps"))[0] == {"a": word_pcm("one")}
        say(socket, "a", "o, ")
        say(socket, "a", "three", more=False)
        pcm, events = await hear(socket, "done")
        assert pcm == {"a": word_pcm("two,") + word_pcm("three")}
        words = [event["word_timestamps"] for event in events[:-1]]
        assert [word for one in words for word in one["words"]] == ["two,", "three"]
        assert events[-1] == {"type": "done", "context_id": "a", "done": True, "status_code": 200}
        say(socket, "a", "again", more=False)  # the name is free
        assert (await hear(socket, "done"))[0] == {"a": word_pcm("again")}
        say(socket, "b", "", more=False)
        assert (await hear(socket, "done"))[0] == {}

    play(scenario)


def test_contexts_do_not_wait_for_each_other() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one MUTE ")
        say(socket, "b", "two", more=False)
        pcm, events = await hear(socket, "done")
        assert events[-1]["context_id"] == "b"
        assert pcm["b"] == word_pcm("two")

    play(scenario)


def test_a_cancel_is_the_end_and_tells_what_was_spoken() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one two MUTE ")
        await hear(socket, "chunk")
        await hear(socket, "chunk")
        socket.raw(text=json.dumps({"context_id": "a", "cancel": True, "played_ms": 150}))
        say(socket, "a", "next", more=False)
        pcm, events = await hear(socket, "done")
        assert pcm == {}
        assert (events[-1]["text_spoken"], events[-1]["text_remaining"]) == ("one", " two MUTE ")
        assert events[-1]["audio_ms"] == 150
        assert (await hear(socket, "done"))[0] == {"a": word_pcm("next")}
        socket.raw(text=json.dumps({"context_id": "a", "cancel": True}))  # nothing is left to cancel
        say(socket, "b", "two", more=False)
        assert (await hear(socket, "done"))[1][-1]["context_id"] == "b"

    play(scenario)


def test_flushes_are_told_in_their_place() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one", flush=True)
        pcm, events = await hear(socket, "flush_done")
        assert pcm == {"a": word_pcm("one")}
        assert (events[-1]["flush_id"], events[-1]["flush_done"]) == (1, True)
        say(socket, "a", "", flush=True)  # of nothing: at once
        assert (await hear(socket, "flush_done"))[1][-1]["flush_id"] == 2
        say(socket, "a", " two", flush=True)
        say(socket, "a", " three", flush=True)
        say(socket, "a", "", more=False)
        pcm, events = await hear(socket, "done")
        assert [event.get("flush_id") for event in events] == [3, 4, None]
        say(socket, "b", "one", max_buffer_delay_ms=0)  # every message is a phrase
        assert (await hear(socket, "chunk"))[0] == {"b": word_pcm("one")}

    play(scenario)


@pytest.mark.parametrize(
    ("change", "code", "names"),
    [
        ({"voice": {"id": "nemo"}}, "unknown_voice", "nemo"),
        ({"transcript": 7}, "invalid_parameter", "7"),
        ({"output_format": RAW | {"container": "wav"}}, "invalid_parameter", "wav"),
        ({"seed": 2**63}, "invalid_parameter", "seed"),
        ({"transcript": "FAULT "}, "engine_fault", ""),
        ({"transcript": "more than ten"}, "text_too_long", "10"),
    ],
)
def test_an_error_ends_its_context_alone(change: dict[str, Any], code: str, names: str) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one ")
        await hear(socket, "chunk")
        say(socket, "b", "x", **change) if "transcript" not in change else say(socket, "b", change["transcript"])
        _, events = await hear(socket, "error")
        assert (events[-1]["error_code"], events[-1]["context_id"], events[-1]["done"]) == (code, "b", True)
        assert names in events[-1]["message"]
        assert events[-1]["error"].endswith(events[-1]["message"]), "where versions before 2026-03-01 look"
        say(socket, "a", "two", more=False)
        assert (await hear(socket, "done"))[0] == {"a": word_pcm("two")}

    play(scenario, max_characters=10)


def test_an_error_about_a_context_that_speaks_stops_it() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        say(socket, "a", "one MUTE ")
        await hear(socket, "chunk")
        say(socket, "a", "far too much")
        _, events = await hear(socket, "error")
        assert events[-1]["context_id"] == "a"
        say(socket, "a", "two", more=False)
        assert await hear(socket, "done") == (
            {"a": word_pcm("two")},
            [{"type": "done", "context_id": "a", "done": True, "status_code": 200}],
        )

    play(scenario, max_characters=10)


def test_what_is_not_json_closes() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.raw(text="{")
        _, events = await hear(socket, "close")
        assert [event["type"] for event in events] == ["error", "close"]
        assert events[-1]["code"] == 1007

    play(scenario)


def test_a_drain_lets_what_speaks_finish() -> None:
    async def run() -> None:
        async with serving() as app, AsgiSocket(app, path="/tts/websocket") as socket:
            say(socket, "a", "one two ")
            await hear(socket, "chunk")
            draining = asyncio.create_task(app.state.parlando.drain())
            say(socket, "b", "three ")
            _, events = await hear(socket, "error")
            assert (events[-1]["error_code"], events[-1]["context_id"]) == ("draining", "b")
            say(socket, "a", "", more=False)
            await hear(socket, "done")
            _, events = await hear(socket, "close")
            assert events[-1]["code"] == 1012
            assert await draining

    asyncio.run(run())


def test_words_keep_the_signs_that_stick_to_them() -> None:
    text = 'He said: "Well, $12.50!" (Then) —'
    times = WordTimes()
    spoken = [(0, 2), (3, 7), (10, 14), (16, 19), (19, 22), (26, 30)]
    words = [
        WordTime(start_char=begin, end_char=end, start_s=place, end_s=place + 1.0)
        for place, (begin, end) in enumerate(spoken)
    ]
    first = times.of(words[:4], text)
    assert first == {"words": ["He", "said:", '"Well,', '$12.50!"'], "start": [0, 1, 2, 3], "end": [1, 2, 3, 4]}
    assert times.of(words[4:], text) == {"words": ["(Then)"], "start": [5.0], "end": [6.0]}


def test_a_flush_is_not_done_by_a_wait_before_its_text() -> None:
    """The reader is slow: what tells that all was spoken was told before the text came."""

    async def scenario(socket: AsgiSocket) -> None:
        socket.read.clear()
        say(socket, "a", "one ", flush=True)
        await asyncio.sleep(0.1)  # the engine has told that it waits
        say(socket, "a", "two three ", flush=True)
        await asyncio.sleep(0.1)
        socket.read.set()
        told = []
        while told.count("flush_done") < 2:
            event = await socket.recv()
            assert isinstance(event, dict)
            told.append(event["type"])
        assert told == ["chunk", "flush_done", "chunk", "chunk", "flush_done"]

    play(scenario)
