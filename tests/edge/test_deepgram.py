"""Deepgram's doors: HTTP in its formats and errors, both sockets message by message, interruptions to the word."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from server.audio.uncompressed import mu_law_table
from tests.edge.toy import WORD_S, AsgiSocket, ToyEngine, serving, word_pcm

APPLIED = {"pronunciations_applied": 0, "breaks_applied": 0, "pronunciation_warnings": 0}


def ask(text: object, query: str = "", path: str = "/v1/speak", **settings: Any) -> httpx.Response:
    async def run() -> httpx.Response:
        async with serving(**settings) as app:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await client.post(f"{path}?{query}", json={"text": text})

    return asyncio.run(run())


def mu_law(pcm: bytes) -> bytes:
    table = mu_law_table()
    return bytes(int(table[sample]) for (sample,) in struct.iter_unpack("<H", pcm))


@pytest.mark.parametrize("path", ["/v1/speak", "/v2/speak"])
def test_http_in_each_plain_form(path: str) -> None:
    pcm = word_pcm("one") + word_pcm("two")
    raw = ask("one two", "encoding=linear16&container=none&model=aura-2-thalia-en&tag=a", path)
    assert raw.status_code == 200
    assert raw.headers["content-type"] == "audio/l16;rate=24000;channels=1"
    assert raw.content == pcm
    assert raw.headers["dg-request-id"].startswith("req-")
    assert raw.headers["dg-char-count"] == "7"
    wav = ask("one two", "encoding=linear16&sample_rate=24000.0", path)
    assert (wav.headers["content-type"], wav.content[:4], wav.content[44:]) == ("audio/wav", b"RIFF", pcm)
    at_8k = word_pcm("one", 8_000) + word_pcm("two", 8_000)
    telephone = ask("one two", "encoding=mulaw", path)
    tag, channels, rate_hz = struct.unpack("<HHI", telephone.content[20:28])
    assert (tag, channels, rate_hz) == (7, 1, 8_000)
    assert telephone.content[44:] == mu_law(at_8k)
    assert ask("one two", "encoding=mulaw&container=none", path).content == mu_law(at_8k)


@pytest.mark.parametrize(
    ("query", "kind", "magic"),
    [
        ("", "audio/mpeg", b"\xff"),
        ("encoding=mp3&bit_rate=32000", "audio/mpeg", b"\xff"),
        ("encoding=opus", "audio/ogg", b"OggS"),
        ("encoding=flac", "audio/flac", b"fLaC"),
        ("encoding=aac", "audio/aac", b"\xff"),
    ],
)
def test_http_in_each_compressed_form(query: str, kind: str, magic: bytes) -> None:
    answer = ask("one two three", query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content.startswith(magic)


@pytest.mark.parametrize(
    ("query", "text", "status", "code", "names"),
    [
        ("encoding=mp4", "one", 400, "INVALID_PARAMETER", "mp4"),
        ("encoding=linear16&sample_rate=11025", "one", 400, "INVALID_PARAMETER", "11025"),
        ("encoding=mp3&container=wav", "one", 400, "INVALID_PARAMETER", "wav"),
        ("encoding=mp3&bit_rate=1", "one", 400, "INVALID_PARAMETER", "bit_rate 1"),
        ("callback=http://there", "one", 400, "INVALID_PARAMETER", "callback"),
        ("model=nemo", "one", 400, "UNKNOWN_VOICE", "nemo"),
        ("model=aura-2-celeste-es", "one", 404, "UNKNOWN_MODEL", "es"),
        ("", " ", 400, "UNSPEAKABLE_TEXT", "empty"),
        ("", 7, 400, "INVALID_PARAMETER", "text"),
        ("", "one two three four", 413, "TEXT_TOO_LONG", "limit is 10"),
    ],
)
def test_http_errors_are_deepgrams(query: str, text: object, status: int, code: str, names: str) -> None:
    answer = ask(text, query, max_characters=10)
    body = answer.json()
    assert (answer.status_code, body["err_code"]) == (status, code)
    assert names in body["err_msg"]
    assert body["request_id"] == answer.headers["dg-request-id"]


def test_keys_and_guards_speak_deepgrams_words() -> None:
    assert ask("one", api_keys="a").json()["err_code"] == "INVALID_API_KEY"
    assert ask("x" * 2_000, max_body_bytes=1_024).json()["err_code"] == "BODY_TOO_BIG"


@pytest.mark.parametrize(
    ("model", "voice"),
    [("aura-2-slt-en", "slt"), ("flux-slt-en", "slt"), ("aura-asteria-en", "rms"), ("aura-2", "rms"), ("awb", "awb")],
)
def test_a_model_is_a_voice(model: str, voice: str) -> None:
    toy, heard = ToyEngine(), []
    toy.before_audio = lambda: heard.extend(one.submit.voice for one in toy.voices.values())

    async def run() -> None:
        async with serving(toy) as app, AsgiSocket(app, path="/v1/speak", query=f"model={model}") as socket:
            await socket.recv()
            socket.say("Speak", text="one")
            socket.say("Flush")
            await socket.hear("Flushed")

    asyncio.run(run())
    assert heard[-1] == voice


def play(path: str, scenario: Callable[[AsgiSocket], Awaitable[None]], query: str = "", **settings: Any) -> None:
    async def run() -> None:
        async with serving(**settings) as app, AsgiSocket(app, path=path, query=query) as socket:
            await socket.recv()  # the greeting
            await scenario(socket)

    asyncio.run(run())


def test_v1_speaks_as_text_comes_and_tells_where_a_flush_ends() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text="one tw")
        assert await socket.recv() == word_pcm("one")
        socket.say("Speak", text="o ")
        socket.say("Flush")
        socket.say("Speak", text="three")
        socket.say("Flush")
        assert await socket.hear("Flushed") == (word_pcm("two"), [{"type": "Flushed", "sequence_id": 0}])
        assert await socket.hear("Flushed") == (word_pcm("three"), [{"type": "Flushed", "sequence_id": 1}])
        socket.say("Flush")
        assert await socket.recv() == {"type": "Flushed", "sequence_id": 2}
        socket.say("Speak", text="four")
        socket.say("Close")
        assert await socket.recv() == word_pcm("four")
        assert await socket.recv() == {"type": "close", "code": 1000, "reason": ""}

    play("/v1/speak", scenario)


def test_v1_clear_stops_everything_and_the_next_text_starts_clean() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text="one MUTE ")
        assert await socket.recv() == word_pcm("one")
        socket.say("Flush")
        socket.say("Speak", text="waits behind")
        socket.say("Clear")
        socket.say("Speak", text="two")
        socket.say("Flush")
        pcm, events = await socket.hear("Cleared")
        assert pcm == b""
        assert [event["type"] for event in events] == ["Cleared"], "a late 'Flushed' would be taken for the next text's"
        pcm, events = await socket.hear("Flushed")
        assert pcm == word_pcm("two")
        assert [(event["type"], event["sequence_id"]) for event in events] == [("Flushed", 1)]

    play("/v1/speak", scenario)


def test_v1_in_the_telephones_form() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text="one")
        socket.say("Flush")
        assert (await socket.hear("Flushed"))[0] == mu_law(word_pcm("one", 8_000))

    play("/v1/speak", scenario, "encoding=mulaw")


@pytest.mark.parametrize("path", ["/v1/speak", "/v2/speak"])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("{", 1007),
        ("[]", 1008),
        ('{"type": "Shout"}', 1008),
        ('{"type": "Speak"}', 1008),
        ('{"type": "Speak", "text": "more than ten"}', 1009),
        ('{"type": "Speak", "text": "FAULT "}', 1011),
    ],
)
def test_an_error_is_told_and_closes(path: str, raw: str, code: int) -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.raw(text=raw)
        _, events = await socket.hear("close")
        assert [event["type"] for event in events if event["type"] != "SpeechStarted"] == ["Error", "close"]
        assert events[-1]["code"] == code
        assert events[-2]["code"]
        assert events[-2]["description"]

    play(path, scenario, max_characters=10)


@pytest.mark.parametrize("path", ["/v1/speak", "/v2/speak"])
@pytest.mark.parametrize("query", ["encoding=mp3", "sample_rate=11025", "speed=9", "model=nemo", "model=aura-2-x-es"])
def test_an_address_that_is_wrong_is_refused(path: str, query: str) -> None:
    async def run() -> None:
        async with serving() as app, AsgiSocket(app, path=path, query=query) as socket:
            error = await socket.recv()
            assert isinstance(error, dict)
            assert error["type"] == "Error"
            assert query.partition("=")[2].removeprefix("aura-2-x-") in error["description"]
            close = await socket.recv()
            assert isinstance(close, dict)
            assert close["code"] == 1008

    asyncio.run(run())


@pytest.mark.parametrize(("authorization", "passes"), [("Token a", True), ("Bearer a", True), ("Token b", False)])
def test_a_key_is_a_token(authorization: str, passes: bool) -> None:
    async def run() -> None:
        async with (
            serving(api_keys="a") as app,
            AsgiSocket(app, path="/v1/speak", authorization=authorization) as socket,
        ):
            first = await socket.recv()
            assert isinstance(first, dict)
            assert first["type"] == ("Metadata" if passes else "Error")

    asyncio.run(run())


def metadata(speech_id: str, words: int, characters: int) -> dict[str, Any]:
    return {
        "speech_id": speech_id,
        "audio_duration_ms": round(1000 * WORD_S * words),
        "input_character_count": characters,
        "billable_character_count": characters,
        "controls_applied": APPLIED,
    }


def test_v2_a_turn_from_start_to_end() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text="one two")
        socket.say("Flush")
        pcm, events = await socket.hear("Flushed")
        assert pcm == word_pcm("one") + word_pcm("two")
        name = events[0]["speech_id"]
        assert events == [
            {"type": "SpeechStarted", "speech_id": name},
            {"type": "SpeechMetadata", **metadata(name, 2, 7)},
            {"type": "Flushed", "speech_id": name},
        ]
        socket.say("Configure", speed=1.5)
        assert await socket.recv() == {"type": "ConfigureSuccess", "applied": {"speed": 1.5}}
        socket.say("Configure", speed=9)
        failure = await socket.recv()
        assert isinstance(failure, dict)
        assert (failure["code"], failure["field"], failure["value"]) == ("SPEED_OUT_OF_RANGE", "speed", 9.0)
        socket.say("Close")
        assert await socket.recv() == {
            "type": "SessionMetadata",
            "total_audio_duration_ms": 200,
            "total_input_character_count": 7,
            "total_billable_character_count": 7,
        }
        assert await socket.recv() == {"type": "close", "code": 1000, "reason": ""}

    play("/v2/speak", scenario)


async def warned(socket: AsgiSocket, code: str) -> None:
    warning = await socket.recv()
    assert isinstance(warning, dict)
    assert (warning["type"], warning["code"]) == ("Warning", code)


def offset(ms: int) -> dict[str, object]:
    return {"type": "time_ms", "value": ms}


def test_v2_an_interrupt_tells_what_was_heard_on_the_sessions_clock() -> None:
    """Two whole turns, then one that is generated: 0-200, 200-300 and 300- ms."""

    async def scenario(socket: AsgiSocket) -> None:
        await warned_of(socket, "NO_ACTIVE_SPEECH", "Interrupt", playback_offset=offset(0))
        await warned_of(socket, "NO_ACTIVE_SPEECH", "Flush")
        for text in ("one two", "three"):
            socket.say("Speak", text=text)
            socket.say("Flush")
            await socket.hear("Flushed")
        socket.say("Speak", text="four five MUTE ")
        socket.say("Flush")
        socket.say("Speak", text="six ")
        for _ in range(3):  # SpeechStarted and two words
            await socket.recv()
        socket.say("Interrupt", playback_offset=offset(250))  # inside the second
        pcm, events = await socket.hear("SpeechInterrupted")
        assert pcm == b""
        told = events[-1]
        assert (told["audio_played_ms"], told["text_spoken"], told["text_remaining"]) == (
            250,
            "",
            "threefour five MUTE six ",
        )
        assert told["metadata"]["input_character_count"] == 5
        await warned_of(socket, "INVALID_INTERRUPT_OFFSET", "Interrupt", playback_offset=offset(249))
        await warned_of(socket, "NO_ACTIVE_SPEECH", "Interrupt", playback_offset=offset(251))
        socket.say("Speak", text="seven eight nine MUTE ")  # from 250 ms on
        for _ in range(4):
            await socket.recv()
        socket.say("Interrupt", playback_offset=offset(460))
        _, events = await socket.hear("SpeechInterrupted")
        assert (events[-1]["text_spoken"], events[-1]["text_remaining"]) == ("seven eight", " nine MUTE ")
        socket.say("Speak", text="ten")
        socket.say("Flush")
        assert (await socket.hear("Flushed"))[0] == word_pcm("ten")

    play("/v2/speak", scenario)


async def warned_of(socket: AsgiSocket, code: str, kind: str, **fields: object) -> None:
    socket.say(kind, **fields)
    await warned(socket, code)


def test_v2_an_interrupt_without_an_offset_only_stops() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text="one two MUTE ")
        for _ in range(3):
            await socket.recv()
        socket.say("Interrupt")
        _, events = await socket.hear("SpeechInterrupted")
        assert events[-1]["audio_played_ms"] == 200
        assert "text_spoken" not in events[-1]
        await warned_of(socket, "INVALID_INTERRUPT_OFFSET", "Interrupt", playback_offset=offset(100))

    play("/v2/speak", scenario)


@pytest.mark.parametrize("path", ["/v1/speak", "/v2/speak"])
def test_a_drain_lets_what_speaks_finish(path: str) -> None:
    async def run() -> None:
        async with serving() as app, AsgiSocket(app, path=path) as socket:
            await socket.recv()
            socket.say("Speak", text="one two ")
            while await socket.recv() != word_pcm("one"):
                pass
            draining = asyncio.create_task(app.state.parlando.drain())
            socket.say("Flush")
            pcm, events = await socket.hear("close")
            assert pcm == word_pcm("two")
            assert [event["type"] for event in events[-3:]] == ["Flushed", "Error", "close"]
            assert events[-1]["code"] == 1012
            assert await draining

    asyncio.run(run())


def test_v2_a_turn_of_blanks_has_an_end() -> None:
    async def scenario(socket: AsgiSocket) -> None:
        socket.say("Speak", text=" ")
        socket.say("Flush")
        pcm, events = await socket.hear("Flushed")
        assert pcm == b""
        assert [event["type"] for event in events] == ["SpeechStarted", "Warning", "SpeechMetadata", "Flushed"]
        assert (events[1]["code"], events[2]["audio_duration_ms"]) == ("NO_SYNTHESIZABLE_TEXT", 0)

    play("/v2/speak", scenario)


def test_v2_a_blank_alone_opens_nothing() -> None:
    """A line's end behind the last flush, say: an utterance without text would end the socket in time."""

    async def scenario(socket: AsgiSocket) -> None:
        for text in (" ", "\n", ""):
            socket.say("Speak", text=text)
        await asyncio.sleep(0.1)
        socket.say("Speak", text="one")
        socket.say("Flush")
        pcm, events = await socket.hear("Flushed")
        assert pcm == word_pcm("one")
        assert [event["type"] for event in events] == ["SpeechStarted", "SpeechMetadata", "Flushed"]

    play("/v2/speak", scenario, idle_s=0.05)


@pytest.mark.parametrize("path", ["/v1/speak", "/v2/speak"])
@pytest.mark.parametrize(("offered", "passes"), [(["token", "k"], True), (["bearer", "k", "x"], True), (["k"], False)])
def test_a_browsers_key_is_among_its_subprotocols(path: str, offered: list[str], passes: bool) -> None:
    async def run() -> None:
        async with serving(api_keys="k") as app, AsgiSocket(app, *offered, path=path) as socket:
            assert socket.subprotocol == (offered[0] if passes else None)
            told = await socket.recv()
            assert isinstance(told, dict)
            assert (told["type"] in ("Metadata", "Connected")) is passes

    asyncio.run(run())
