"""Wyoming's port: whole and streamed text, its errors and closes, and who may come in."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from engines.errors import ConfigError
from server.app import create_app
from server.serving import wyoming_door
from server.settings import Settings
from tests.edge.toy import WORD_S, word_pcm
from tests.edge.toy_server import ToyServer
from tests.edge.wyoming_client import Heard, WyomingClient

AUDIO = {"rate": 24_000, "width": 2, "channels": 1}


@pytest.fixture(scope="module")
def toy() -> Iterator[ToyServer]:
    with ToyServer(wyoming_port=0, max_message_bytes=4_096) as server:
        yield server


@pytest.fixture
def client(toy: ToyServer) -> Iterator[WyomingClient]:
    with dial(toy) as one:
        yield one
    deadline_s = time.monotonic() + 20
    while toy.state.live or toy.state.connection_limit.taken:
        assert time.monotonic() < deadline_s, "a connection or its utterance goes on"
        time.sleep(0.001)


def dial(toy: ToyServer) -> WyomingClient:
    assert toy.wyoming is not None
    return WyomingClient(toy.wyoming.port)


def refused(client: WyomingClient, code: str) -> str:
    """The error's text; the server then closes."""
    event = client.hear()
    while event is not None and event.type != "error":
        event = client.hear()
    assert event is not None
    assert event.data["code"] == code
    assert client.hear() is None
    return str(event.data["text"])


def test_describe_tells_voices_and_streaming(client: WyomingClient) -> None:
    client.say("describe")
    event = client.hear()
    assert event is not None
    (program,) = event.data["tts"]
    assert program["supports_synthesize_streaming"] is True
    assert [voice["name"] for voice in program["voices"]] == ["rms", "slt", "awb", "kal16"]
    assert all(voice["languages"] == ["en"] and voice["installed"] for voice in program["voices"])
    assert [event.data[other] for other in ("asr", "handle", "intent", "wake", "mic", "snd")] == [[]] * 6
    client.say("ping", text="still there?")
    assert client.hear() == Heard("pong", {"text": "still there?"})


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("voice", [{}, {"name": "slt", "speaker": "any"}, {"language": "en_US"}])
def test_a_whole_text(client: WyomingClient, inline: bool, voice: dict[str, str]) -> None:
    client.say("synthesize", inline=inline, text="one two", voice=voice)
    pcm, events = client.hear_until("audio-stop")
    assert pcm == word_pcm("one") + word_pcm("two")
    assert events == [
        Heard("audio-start", {**AUDIO, "timestamp": 0}),
        Heard("audio-chunk", {**AUDIO, "timestamp": 0}),
        Heard("audio-chunk", {**AUDIO, "timestamp": round(1000 * WORD_S)}),
        Heard("audio-stop", {"timestamp": round(2000 * WORD_S)}),
    ]


def test_text_in_chunks_is_spoken_as_it_comes(client: WyomingClient) -> None:
    client.say("synthesize-start", voice={"name": "rms"})
    client.say("synthesize-chunk", text=" ")
    client.say("synthesize-chunk", text="one tw")
    assert client.hear_until("audio-chunk")[0] == word_pcm("one")  # the next is not known yet
    client.say("synthesize-chunk", text="o three ")
    client.say("synthesize", text="one two three")  # for servers that cannot stream
    client.say("synthesize-stop")
    pcm, events = client.hear_until("synthesize-stopped")
    assert pcm == word_pcm("two") + word_pcm("three")
    assert [event.type for event in events[-2:]] == ["audio-stop", "synthesize-stopped"]


def test_a_stream_without_text_ends_without_a_sound(client: WyomingClient) -> None:
    client.say("synthesize-start")
    client.say("synthesize-stop")
    assert client.hear() == Heard("synthesize-stopped")


def test_utterances_are_heard_in_their_order(client: WyomingClient) -> None:
    client.say("synthesize", text="one")
    client.say("synthesize-start")
    client.say("synthesize-chunk", text="two")
    client.say("synthesize-stop")
    client.say("synthesize", text="three")
    heard = [client.hear_until("audio-stop")[0] for _ in range(3)]
    assert heard == [word_pcm("one"), word_pcm("two"), word_pcm("three")]


def test_events_that_are_not_known_and_payloads_say_nothing(client: WyomingClient) -> None:
    client.say("select-program", name="parlando")
    client.say("audio-chunk", payload=bytes(1_000), **AUDIO)
    client.say("synthesize", text="one")
    assert client.hear_until("audio-stop")[0] == word_pcm("one")


@pytest.mark.parametrize(
    ("kind", "data", "code", "names"),
    [
        ("synthesize", {}, "invalid_parameter", "text"),
        ("synthesize", {"text": 7}, "invalid_parameter", "7"),
        ("synthesize", {"text": "one", "voice": {"name": "nemo"}}, "unknown_voice", "nemo"),
        ("synthesize", {"text": "one", "voice": {"language": "fi"}}, "unknown_voice", "fi"),
        ("synthesize", {"text": "one FAULT"}, "engine_fault", ""),
        ("synthesize-chunk", {"text": "one"}, "invalid_request", "synthesize-start"),
        ("synthesize-stop", {}, "invalid_request", "synthesize-start"),
        ("synthesize-start", {"voice": "rms"}, "invalid_parameter", "voice"),
    ],
)
def test_an_error_is_told_and_ends_the_connection(
    client: WyomingClient, kind: str, data: dict[str, object], code: str, names: str
) -> None:
    client.say(kind, **data)
    assert names in refused(client, code)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "invalid_message"),
        (b'["describe"]\n', "invalid_message"),
        (b'{"type": 1}\n', "invalid_parameter"),
        (b'{"type": "describe", "data_length": -1}\n', "invalid_parameter"),
        (b'{"type": "describe", "data_length": 5000}\n', "message_too_big"),
        (b'{"type": "describe", "payload_length": 5000}\n', "message_too_big"),
        (b'{"type": "synthesize", "data_length": 2}\n[]', "invalid_message"),
        (b'{"type": "synthesize", "data_length": 2}\n\xff\xff', "invalid_message"),
        (b"x" * 9_000, "message_too_big"),
    ],
)
def test_what_is_no_event_is_refused(client: WyomingClient, raw: bytes, code: str) -> None:
    client.socket.sendall(raw)
    refused(client, code)


def test_a_client_that_leaves_cancels(toy: ToyServer, client: WyomingClient) -> None:
    toy.toy.cancelled.clear()
    client.say("synthesize-start")
    client.say("synthesize-chunk", text="one two MUTE")
    assert client.hear_until("audio-chunk")[0] == word_pcm("one")
    client.socket.shutdown(2)
    assert toy.toy.cancelled.wait(20)


def test_limits_are_those_of_the_other_doors() -> None:
    limits = {"max_connections": 2, "max_characters": 10, "max_contexts": 2}
    with ToyServer(wyoming_port=0, **limits) as toy, dial(toy) as one, dial(toy) as two:
        for client in (one, two):
            client.say("describe")
            assert client.hear() is not None
        with dial(toy) as three:
            refused(three, "overloaded")
        one.say("synthesize", text="much too long")
        assert "limit is 10" in refused(one, "text_too_long")
        for _ in range(3):
            two.say("synthesize", text="one MUTE")
        refused(two, "too_many_contexts")


def test_an_idle_connection_is_closed() -> None:
    with ToyServer(wyoming_port=0, idle_s=0.05) as toy, dial(toy) as client:
        refused(client, "idle_timeout")


def test_a_drain_lets_what_lives_finish() -> None:
    with ToyServer(wyoming_port=0) as toy, dial(toy) as idle, dial(toy) as speaking:
        idle.say("describe")
        assert idle.hear() is not None
        speaking.say("synthesize-start")
        speaking.say("synthesize-chunk", text="one two")
        speaking.hear_until("audio-chunk")
        toy.server.handle_exit(15, None)
        refused(idle, "draining")
        speaking.say("synthesize-stop")
        assert speaking.hear_until("synthesize-stopped")[0] == word_pcm("two")
        refused(speaking, "draining")


def test_keys_give_wyoming_an_account() -> None:
    with (
        ToyServer(wyoming_port=0, api_keys="a,b", key_streams=1, wyoming_key="b") as toy,
        dial(toy) as one,
        dial(toy) as two,
    ):
        one.say("synthesize-start")
        one.say("synthesize-chunk", text="one two")
        one.hear_until("audio-chunk")
        two.say("synthesize", text="three")
        assert "its limit is 1" in refused(two, "quota_exceeded")


@pytest.mark.parametrize("key", [None, "c"])
def test_without_an_account_it_does_not_start(key: str | None) -> None:
    settings = Settings(wyoming_port=0, api_keys="a,b", wyoming_key=key)
    app = create_app(settings)
    with pytest.raises(ConfigError, match="wyoming_key"):
        wyoming_door(settings, app.state.parlando)


def test_a_null_is_a_field_that_is_not_given(client: WyomingClient) -> None:
    client.socket.sendall(json.dumps({"type": "synthesize", "data": {"text": "one", "voice": None}}).encode() + b"\n")
    assert client.hear_until("audio-stop")[0] == word_pcm("one")
