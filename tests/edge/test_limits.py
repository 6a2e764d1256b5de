"""Limits and refusals: every one says what was wrong, then closes with its code where it closes at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from server.settings import Settings
from server.state import State
from tests.edge.toy import WORD_S, AsgiSocket, FakeClock, ToyEngine, serving, word_pcm


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
