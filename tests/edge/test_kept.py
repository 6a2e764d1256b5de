"""`RESUME_S`: an utterance whose connection broke waits for its listener, also where a seed does not fix the audio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SHUT_RDWR
from typing import Any

import pytest
from fastapi import FastAPI

from server.state import State
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import WORD_S, AsgiSocket, ToyEngine, serving, word_pcm

WORDS = [f"word{number}" for number in range(6)]
WHOLE = b"".join(map(word_pcm, WORDS))
WORD_SAMPLES = round(WORD_S * 24_000)
NEAR = {"draft_tolerance": 1}  # nothing can be made again there


@asynccontextmanager
async def broken_off(app: FastAPI, code: int = 1006, ended: bool = False) -> AsyncIterator[dict[str, Any]]:
    """Two words were heard, then the line broke; what resumes it."""
    socket = AsgiSocket(app, "parlando.v1")
    await socket.__aenter__()
    socket.say("start", seed=1)
    _, events = await socket.hear("started")
    socket.say("append", text=" ".join(WORDS[:3]) + (" " if not ended else ""))
    if ended:
        socket.say("end")
        socket.audio_left = 2
        while socket.audio_left:
            await asyncio.sleep(0)
    else:
        assert (await socket.hear("waiting_for_text"))[0] == WHOLE[: 6 * WORD_SAMPLES]
    socket.raw_disconnect(code)
    await socket.ended()
    yield {"seed": 1, "resume_id": events[-1]["resume_id"]}


@pytest.mark.parametrize("from_word", [0, 1, 3])
def test_a_listener_that_comes_back_hears_the_rest(from_word: int) -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, resume_s=30, **NEAR) as app, broken_off(app) as request:
            (voice,) = toy.voices.values()
            async with AsgiSocket(app, "parlando.v1") as socket:
                text = " ".join(WORDS[:4]) + " "  # the fourth was lost on the way
                socket.say("resume", text=text, ended=False, from_sample=from_word * WORD_SAMPLES, **request)
                pcm, events = await socket.hear("waiting_for_text")
                assert list(toy.voices.values()) == [voice], "it is the same stream"
                socket.say("append", text=" ".join(WORDS[4:]))
                socket.say("end")
                rest, more = await socket.hear("done")
                assert WHOLE[: 2 * from_word * WORD_SAMPLES] + pcm + rest == WHOLE
                words = [word["text"] for event in events + more if event["type"] == "words" for word in event["words"]]
                assert words[-(6 - from_word) :] == WORDS[from_word:]
                assert more[-1]["audio_ms"] == pytest.approx(6_000 * WORD_S)
            state: State = app.state.parlando
            assert state.metrics.registry.get_sample_value("tts_stream_underruns_total") == 0

    asyncio.run(scenario())


def test_a_listener_may_come_back_before_the_server_knows_that_it_was_gone() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, resume_s=30, **NEAR) as app, AsgiSocket(app, "parlando.v1") as dead:
            dead.say("start", seed=1)
            dead.say("append", text=" ".join(WORDS))
            pcm, events = await dead.hear("waiting_for_text")
            assert pcm == WHOLE[: 10 * WORD_SAMPLES]
            resume_id = next(event for event in events if event["type"] == "started")["resume_id"]
            async with AsgiSocket(app, "parlando.v1") as socket:
                fields = {"seed": 1, "resume_id": resume_id, "from_sample": WORD_SAMPLES}
                socket.say("resume", text=" ".join(WORDS), **fields)
                rest, _ = await socket.hear("done")
                assert rest == WHOLE[2 * WORD_SAMPLES :]
                dead.say("append", text="more")  # a name is free again
                await dead.hear("started")
                dead.say("cancel")
                await dead.hear("cancelled")

    asyncio.run(scenario())


def test_what_was_being_sent_is_not_lost() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with (
            serving(toy, resume_s=30, **NEAR) as app,
            broken_off(app, ended=True) as request,
            AsgiSocket(app, "parlando.v1") as socket,
        ):
            socket.say("resume", text=" ".join(WORDS[:3]), from_sample=WORD_SAMPLES, **request)
            rest, events = await socket.hear("done")
            assert rest == WHOLE[2 * WORD_SAMPLES : 6 * WORD_SAMPLES]
            assert events[-1]["audio_ms"] == pytest.approx(3_000 * WORD_S)

    asyncio.run(scenario())


async def gone(app: FastAPI) -> None:
    state: State = app.state.parlando
    async with asyncio.timeout(10):
        while state.live or state.engine.active:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("settings", "code"),
    [({"resume_s": 0.01}, 1006), ({"resume_s": 0}, 1006), ({"resume_s": 60}, 1000), ({"resume_s": 60}, 1001)],
)
def test_it_ends_after_its_time_and_with_a_close(settings: dict[str, Any], code: int) -> None:
    async def scenario() -> None:
        async with serving(**settings, **NEAR) as app, broken_off(app, code) as request:
            await gone(app)
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("resume", text=" ".join(WORDS[:3]) + " ", ended=False, from_sample=0, **request)
                _, events = await socket.hear("error")
                assert events[-1]["code"] == "cannot_resume"

    asyncio.run(scenario())


def test_a_drain_does_not_wait_for_those_without_a_listener() -> None:
    async def scenario() -> None:
        async with serving(resume_s=600) as app, broken_off(app):
            state: State = app.state.parlando
            assert len(state.live) == 1
            assert await asyncio.wait_for(state.drain(), 10)

    asyncio.run(scenario())


def test_another_request_is_not_answered_with_it_and_few_are_kept() -> None:
    async def scenario() -> None:
        async with serving(resume_s=60, slots=8) as app:
            async with broken_off(app) as request, AsgiSocket(app, "parlando.v1") as socket:
                for text in ("other words ", WORDS[0], " ".join(WORDS[:3])):
                    socket.say("resume", text=text, from_sample=0, **request)
                    pcm, _ = await socket.hear("done")
                    assert pcm == b"".join(map(word_pcm, text.split()))
            state: State = app.state.parlando
            assert len(state.live) == 1
            for _ in range(3):
                async with broken_off(app):
                    assert len(state.live) == 2, "the oldest goes"
            state.kept.close()

    asyncio.run(scenario())


def test_a_cut_connection_of_a_real_server() -> None:
    text = "The line breaks in the middle of this sentence, and the listener comes back for all that is left of it. "
    with RunningServer(resume_s="60", draft_tolerance="1") as server:
        with dial(server) as socket:
            say(socket, type="start", seed=4)
            say(socket, type="append", text=text)
            heard, events = hear(socket, "words")
            started = next(event for event in events if event["type"] == "started")
            socket.socket.shutdown(SHUT_RDWR)  # no goodbye
        with dial(server) as socket:
            fields = {"text": text, "resume_id": started["resume_id"], "from_sample": len(heard) // 2}
            say(socket, type="resume", seed=4, **fields)
            rest, events = hear(socket, "done", "error")
            assert events[-1]["type"] == "done", events[-1]
            assert len(heard + rest) / 2 / 24_000 == pytest.approx(events[-1]["audio_ms"] / 1_000)
        assert server.stop() == 0


def test_a_resume_that_cannot_use_what_is_kept_leaves_it_to_the_one_that_can() -> None:
    async def scenario() -> None:
        async with serving(resume_s=30) as app, AsgiSocket(app, "parlando.v1") as dead:
            dead.say("start", seed=1)
            dead.say("append", text=" ".join(WORDS))
            _, events = await dead.hear("waiting_for_text")
            fields = {"seed": 1, "text": " ".join(WORDS)}
            fields["resume_id"] = next(event for event in events if event["type"] == "started")["resume_id"]
            async with AsgiSocket(app, "parlando.v1") as socket:
                socket.say("resume", from_sample=10**6, **fields)  # more than was ever sent
                await socket.hear("error")
                socket.say("resume", from_sample=WORD_SAMPLES, **fields)
                assert (await socket.hear("done"))[0] == WHOLE[2 * WORD_SAMPLES :]

    asyncio.run(scenario())


def test_half_a_surrogate_pair_in_an_id_is_refused_by_name() -> None:
    async def scenario() -> None:
        async with serving(resume_s=30) as app, AsgiSocket(app, "parlando.v1") as socket:
            socket.say("resume", seed=1, text="one", from_sample=0, resume_id="x\ud800")
            _, events = await socket.hear("error")
            assert (events[-1]["code"], "resume_id" in events[-1]["message"]) == ("invalid_parameter", True)

    asyncio.run(scenario())
