"""Limits and refusals: every one says what was wrong, then closes with its code where it closes at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.requests import HTTPConnection

from server.access import Access, Caller, Quota, current_caller, read_keys
from server.errors import ApiError
from server.http.websocket import Outgoing, Withdrawn
from server.settings import Settings
from server.state import State
from tests.edge.toy import WORD_S, AsgiSocket, FakeClock, ToyEngine, serving, word_pcm


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


def speak_unread(socket: AsgiSocket) -> None:
    """More words than an outbox of 8 holds."""
    text = " ".join(f"w{number}" for number in range(40)) + " "
    if socket.subprotocol == "parlando.v1":
        socket.say("start", words=False)
        socket.say("append", text=text)
    else:
        socket.say("request.start")
        socket.say("input_text.append", sequence=0, text=text)


async def refusal(socket: AsgiSocket) -> tuple[str, int | None]:
    """The code of the next error, and that of the close behind it."""
    _, events = await socket.hear("error")
    last = await socket.recv()
    assert isinstance(last, dict)
    return events[-1]["code"], last["code"] if last["type"] == "close" else None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"text": "x" * 2_000}, ("message_too_big", 1009)),
        ({"text": "{"}, ("invalid_message", 1007)),
        ({"bytes": b"\x00\x01"}, ("unsupported_data", 1003)),
    ],
)
def test_what_is_no_message_closes(message: dict[str, Any], expected: tuple[str, int]) -> None:
    async def scenario() -> None:
        async with serving(max_message_bytes=1_024) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="live ")
            socket.raw(**message)
            assert await refusal(socket) == expected

    asyncio.run(scenario())


def test_contexts_on_a_socket_are_counted_and_the_others_go_on() -> None:
    async def scenario() -> None:
        async with serving(max_contexts=2) as app, AsgiSocket(app, "parlando.v1") as socket:
            for name in ("a", "b", "c"):
                socket.say("append", context=name, text="word")
            _, events = await socket.hear("error")
            assert (events[-1]["code"], events[-1]["context"]) == ("too_many_contexts", "c")
            socket.say("end", context="a")
            await socket.hear("done")
            socket.say("append", context="c", text="word")
            socket.say("end", context="c")
            _, events = await socket.hear("done")
            assert events[-1]["context"] == "c"

    asyncio.run(scenario())


def test_a_socket_on_which_nothing_happens_is_closed() -> None:
    async def scenario() -> None:
        async with serving(idle_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="unfinished")  # holds a stream, which must come back
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "input_timeout"
            assert await refusal(socket) == ("idle_timeout", 1008)

    asyncio.run(scenario())


def test_a_socket_whose_audio_is_still_heard_is_not_idle() -> None:
    async def scenario() -> None:
        async with serving(idle_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="one two three four ")  # 0.4 s
            await socket.hear("waiting_for_text")
            await asyncio.sleep(0.2)
            socket.say("append", text="five ")
            pcm, _ = await socket.hear("waiting_for_text")
            assert pcm == word_pcm("five")
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "input_timeout"

    asyncio.run(scenario())


def test_audio_that_never_comes_is_an_error_within_its_deadline() -> None:
    async def scenario() -> None:
        async with serving(first_audio_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="MUTE")
            socket.say("end")
            _, events = await socket.hear("error")
            assert (events[-1]["code"], events[-1]["retry_after_s"]) == ("deadline_exceeded", 1)
            socket.say("append", text="next")
            socket.say("end")
            await socket.hear("done")
            outcomes = {"protocol": "parlando.v1", "outcome": "timeout"}
            registry = app.state.parlando.metrics.registry
            assert registry.get_sample_value("tts_requests_total", outcomes) == 1

    asyncio.run(scenario())


def test_an_utterance_ends_within_its_deadline() -> None:
    async def scenario() -> None:
        async with serving(utterance_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("append", text="one two ")
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "deadline_exceeded"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("headers", "subprotocols", "passes"),
    [
        ({}, ["parlando.v1"], False),
        ({"authorization": "Bearer wrong"}, ["parlando.v1"], False),
        ({"authorization": "Basic two"}, ["parlando.v1"], False),
        ({"authorization": "Bearer two"}, ["parlando.v1"], True),
        ({"authorization": "bearer filed"}, ["parlando.v1"], True),
        ({"authorization": "Token one"}, ["parlando.v1"], True),
        ({"xi_api_key": "one"}, ["parlando.v1"], True),
        ({}, ["parlando.v1", "parlando.key.two"], True),
        ({}, ["parlando.v1", "parlando.key.thr"], False),
        ({"authorization": "Bearer wrong"}, ["nari.speech.v1"], False),
    ],
)
def test_keys(tmp_path: Path, headers: dict[str, str], subprotocols: list[str], passes: bool) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfiled name=file streams=1\n")

    async def scenario() -> None:
        settings = {"api_keys": "one, two", "api_keys_file": file}
        async with serving(**settings) as app, AsgiSocket(app, *subprotocols, **headers) as socket:
            if passes:
                socket.say("append", text="word")
                socket.say("end")
                await socket.hear("done")
                return
            message, closed = await socket.recv(), await socket.recv()
            assert isinstance(message, dict)
            assert isinstance(closed, dict)
            told = message.get("error", message)
            assert (message["type"], told["code"], closed["code"]) == ("error", "invalid_api_key", 1008)

    asyncio.run(scenario())


def test_the_keys_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys", FakeClock()
    file.write_text("old streams=2\nkept streams=1\n")
    access = Access(Settings(api_keys_file=file), clock)

    def found(key: str) -> Caller | None:
        try:
            access.check_key(HTTPConnection({"type": "http", "headers": []}), key)
        except ApiError:
            return None
        return current_caller()

    def caller(key: str) -> Caller | None:
        return copy_context().run(found, key)  # as a request's own: the tests that follow have no caller

    kept = caller("kept")
    assert kept is not None
    kept.open_stream()
    replaced = tmp_path / "next"
    replaced.write_text("kept name=k streams=3\nnew\n")
    replaced.replace(file)
    assert caller("old") is not None  # looked at once a second
    clock.now += 1
    assert caller("old") is None
    assert caller("new") is not None
    assert caller("kept") is kept
    assert (kept.name, kept.quota.streams, kept.streams) == ("k", 3, 1)
    file.write_text("new streams=many")
    clock.now += 1
    assert caller("new") is not None  # an error leaves the keys as they were
    file.unlink()
    clock.now += 1
    assert caller("new") is not None
    file.write_text("")
    clock.now += 1
    assert caller("new") is None  # no keys, no callers
    assert access.wants_keys


def test_a_keys_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("key streams=many")
    with pytest.raises(ValueError, match="line 1"):
        read_keys(file, Quota())
    file.write_text("key name=a streams=2\n\nother characters_per_minute=9 # note\n")
    assert read_keys(file, Quota(streams=7)) == [
        ("a", "key", Quota(streams=2)),
        ("line-3", "other", Quota(streams=7, characters_per_minute=9)),
    ]


@pytest.mark.parametrize(
    ("origin", "allowed", "passes"),
    [
        ("http://here", "", True),
        ("http://evil.example", "", False),
        ("null", "", False),
        ("https://app.example", "https://app.example, https://b.example", True),
        ("https://app.example.evil", "https://app.example", False),
        ("http://evil.example", "*", True),
    ],
)
def test_web_pages_are_let_in_by_their_origin(origin: str, allowed: str, passes: bool) -> None:
    async def scenario() -> None:
        async with serving(allowed_origins=allowed) as app, AsgiSocket(app, "parlando.v1", origin=origin) as socket:
            socket.say("append", text="word")
            if passes:
                await socket.hear("started")
            else:
                assert await refusal(socket) == ("origin_not_allowed", 1008)

    asyncio.run(scenario())


def test_a_key_has_its_streams_and_its_characters() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        settings: dict[str, Any] = {"api_keys": "one,two", "key_streams": 1, "key_characters_per_minute": 60}
        async with serving(clock=clock, **settings) as app:
            headers = {"authorization": "Bearer one"}
            async with (
                AsgiSocket(app, **headers) as first,
                AsgiSocket(app, **headers) as second,
                AsgiSocket(app, authorization="Bearer two") as other,
            ):
                first.say("append", text="x " * 45)
                await first.hear("started")
                second.say("append", text="more")
                _, events = await second.hear("error")
                assert events[-1]["code"] == "quota_exceeded"
                assert events[-1]["retry_after_s"] == 1
                other.say("append", text="word")
                other.say("end")
                await other.hear("done")
                first.say("cancel")
                await first.hear("cancelled")
                second.say("append", text="more")  # 90 of 60 characters are spent
                _, events = await second.hear("error")
                assert events[-1]["retry_after_s"] == 31
                clock.now += 31
                second.say("append", text="more")
                second.say("end")
                await second.hear("done")

    asyncio.run(scenario())


def test_a_slow_reader_pauses_its_own_stream_only() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with (
            serving(toy, outbox_chunks=8) as app,
            AsgiSocket(app, "parlando.v1") as slow,
            AsgiSocket(app, "parlando.v1") as quick,
        ):
            spoken = [f"w{number}" for number in range(400)]
            slow.read.clear()
            for word in spoken:
                slow.say("append", text=word + " ")
            slow.say("end")
            quick.say("append", text="quick")
            quick.say("end")
            pcm, _ = await quick.hear("done")
            assert pcm == word_pcm("quick")
            assert await asyncio.to_thread(toy.paused.wait, 10)
            slow.read.set()
            pcm, _ = await slow.hear("done")
            assert pcm == b"".join(map(word_pcm, spoken))

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["parlando.v1", "nari.speech.v1"])
def test_what_waits_for_a_slow_reader_is_not_sent_after_a_cancel(protocol: str) -> None:
    """Two chunks are read, the third waits for room when the cancel comes."""

    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, outbox_chunks=8) as app, AsgiSocket(app, protocol) as socket:
            socket.audio_left = 2
            speak_unread(socket)
            assert await asyncio.to_thread(toy.paused.wait, 10)
            await until(lambda: not socket.read.is_set())
            socket.say("cancel" if protocol == "parlando.v1" else "response.cancel")
            assert await asyncio.to_thread(toy.cancelled.wait, 10)
            socket.audio_left = None
            socket.read.set()
            heard, events = await socket.hear("cancelled", "response.done")
            assert heard == word_pcm("w0") + word_pcm("w1")
            if protocol == "parlando.v1":
                assert events[-1]["sent_ms"] == pytest.approx(2000 * WORD_S)
            else:
                assert events[-1]["audio_chunks"] == 2

    asyncio.run(scenario())


def test_a_writer_that_has_been_woken_but_has_not_run_writes_nothing() -> None:
    async def scenario() -> None:
        room, outgoing, begun, written = asyncio.Event(), Outgoing(), asyncio.Event(), []

        async def write() -> None:
            begun.set()
            await room.wait()
            written.append("audio")

        writer = asyncio.create_task(outgoing.write(write(), 10))
        await begun.wait()
        room.set()
        outgoing.withdraw()
        with pytest.raises(Withdrawn):
            await writer
        assert written == []

    asyncio.run(scenario())


def test_a_close_does_not_wait_behind_unread_audio() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, outbox_chunks=8) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.audio_left = 1
            speak_unread(socket)
            assert await asyncio.to_thread(toy.paused.wait, 10)
            await until(lambda: not socket.read.is_set())
            socket.raw(bytes=b"\x00")
            registry = app.state.parlando.metrics.registry
            await until(lambda: registry.get_sample_value("tts_refusals_total", {"code": "unsupported_data"}) == 1)
            socket.read.set()
            pcm, events = await socket.hear("close")
            assert pcm == word_pcm("w0")
            assert [event.get("code") for event in events[-2:]] == ["unsupported_data", 1003]

    asyncio.run(scenario())


def test_a_reader_that_never_reads_is_given_up() -> None:
    async def scenario() -> None:
        async with serving(send_timeout_s=0.05) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.read.clear()
            socket.say("append", text="one two three ")
            await asyncio.wait_for(socket._running, 5)  # the handler leaves by itself

    asyncio.run(scenario())


def test_the_first_audio_clock_runs_from_the_bytes_of_the_text() -> None:
    async def scenario() -> None:
        clock = FakeClock()

        def half_a_second() -> None:
            clock.now += 0.5

        async with serving(ToyEngine(half_a_second), clock) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("start")
            await socket.hear("started")
            clock.now += 7  # no text yet: no listener waits
            socket.say("append", text="word")
            socket.say("end")
            _, events = await socket.hear("done")
            assert events[-1]["ttfa_ms"] == 500
            registry = app.state.parlando.metrics.registry
            labels = {"protocol": "parlando.v1"}
            assert registry.get_sample_value("tts_time_to_first_audio_seconds_sum", labels) == 0.5
            assert registry.get_sample_value("tts_real_time_factor_sum") == pytest.approx(0.5 / WORD_S)

    asyncio.run(scenario())


def test_a_drain_finishes_the_live_refuses_the_new_and_sends_the_idle_away() -> None:
    async def scenario() -> None:
        async with serving() as app:
            state: State = app.state.parlando
            async with AsgiSocket(app, "parlando.v1") as idle, AsgiSocket(app, "parlando.v1") as live:
                live.say("append", context="a", text="one ")
                await live.hear("waiting_for_text")
                draining = asyncio.create_task(state.drain())
                assert await refusal(idle) == ("draining", 1012)
                live.say("start", context="b")
                _, events = await live.hear("error")
                assert (events[-1]["code"], events[-1]["context"]) == ("draining", "b")
                live.say("append", context="a", text="two")
                live.say("end", context="a")
                pcm, _ = await live.hear("done")
                assert pcm == word_pcm("two")
                assert await refusal(live) == ("draining", 1012)
            assert await draining
            assert not state.ready

    asyncio.run(scenario())


def test_every_setting_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLANDO_ALLOWED_ORIGINS", "https://a.example,https://b.example")
    monkeypatch.setenv("PARLANDO_METRICS_PORT", "9000")
    settings = Settings()
    assert settings.origins == {"https://a.example", "https://b.example"}
    assert settings.metrics_port == 9_000


def test_logs_keep_texts_to_themselves_unless_told() -> None:
    async def scenario(log_text: bool) -> object:
        with structlog.testing.capture_logs() as lines:
            async with serving(log_text=log_text) as app, AsgiSocket(app, "parlando.v1") as socket:
                socket.say("append", text="secret words")
                socket.say("end")
                _, events = await socket.hear("done")
        ended = next(line for line in lines if line["event"] == "utterance_ended")
        assert ended["utterance_id"] == events[-1]["id"]
        return ended["text"]

    assert asyncio.run(scenario(False)) == "<12 characters>"
    assert asyncio.run(scenario(True)) == "secret words"
