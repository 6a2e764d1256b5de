"""A starved event loop is the edge's own trouble: a healthy engine outlives it, and one that hangs does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from msgspec.structs import replace

from engines.messages import EngineStats
from loadtests.metrics_page import scrape
from server.engine.client import EngineClient
from server.engine.link import EngineLost
from server.engine.watchdog import watchdog
from server.settings import Settings
from server.state import State
from tests.edge.conftest import RunningServer
from tests.edge.test_ws import dial, hear, say
from tests.edge.toy import AsgiSocket, ToyEngine, serving, word_pcm


def test_an_edge_that_stands_still_kills_no_engine() -> None:
    """For longer than an engine may be silent, again and again; meanwhile words wait in the pipe."""

    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, engine_silence_s=1.5) as app, AsgiSocket(app) as socket:
            state: State = app.state.parlando
            words = [f"w{number}" for number in range(50)]
            socket.say("append", text=" ".join(words))
            socket.say("end")
            for _ in range(3):
                await asyncio.sleep(0)
                time.sleep(0.8)
            pcm, events = await socket.hear("done", "error")
            assert events[-1]["type"] == "done"
            assert pcm == b"".join(map(word_pcm, words))
            assert (toy.lives, state.engine.restarts) == (1, 0)

    asyncio.run(scenario())


def test_an_engine_that_hangs_beside_an_edge_that_stands_still_is_replaced() -> None:
    async def scenario() -> None:
        toy = ToyEngine()
        async with serving(toy, engine_silence_s=1.5) as app, AsgiSocket(app) as socket:
            state: State = app.state.parlando
            socket.say("append", text="HANG ")
            hearing = asyncio.create_task(socket.hear("error"))
            while not hearing.done():
                await asyncio.sleep(0.01)
                time.sleep(0.05)
            _, events = await hearing
            assert events[-1]["code"] == "engine_lost"
            await asyncio.wait_for(state.engine.wait_ready(), 10)
            assert (toy.lives, state.engine.restarts) == (3, 2), "what hangs it was tried once more"

    asyncio.run(scenario())


def test_patience_counts_waiting_and_not_standing_still() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        async with watchdog(0.3):
            loop.call_later(0.01, answer.set_result, "late")
            await asyncio.sleep(0)
            time.sleep(0.6)
            assert await answer == "late"
        began_s = loop.time()
        try:
            async with watchdog(0.3):
                await loop.create_future()
        except TimeoutError:
            assert loop.time() - began_s >= 0.3
        else:
            raise AssertionError("it waited for ever")

    asyncio.run(scenario())


def test_a_server_process_that_was_stopped_finds_its_engine_well() -> None:
    """As a debugger, a frozen container or a machine that swaps does it. It cannot be heard meanwhile."""
    with RunningServer(engine_silence_s="1.5") as server, dial(server) as socket:
        say(socket, type="append", text="word " * 200)
        say(socket, type="end")
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(3)
        os.kill(server.process.pid, signal.SIGCONT)
        _, events = hear(socket, "done", "error")
        assert events[-1]["type"] == "done"
        assert scrape(server.url)["tts_engine_restarts"] == 0
        assert server.stop() == 0


def test_a_vocoder_job_that_was_frozen_with_the_machine_is_no_hang() -> None:
    """Its length is measured by the engine's clock, which a frozen machine does not stop."""

    async def scenario() -> None:
        stats = EngineStats(
            running=1, waiting=0, slots=4, lm_steps=1, lm_busy_s=0.5,
            vocoder_busy_s=0.25, capacity=3, streams_left=2, predicted_ttfa_s=0.04,
        )  # fmt: skip
        client = EngineClient(Settings(engine_silence_s=5), voice="rms")
        for job_s in (0.0, 60.0, 0.02, 0.03):
            client._take(replace(stats, vocoder_job_s=job_s))
        client._take(replace(stats, vocoder_job_s=6.0))
        with pytest.raises(EngineLost, match=r"busy with one job for 7\.0 s"):
            client._take(replace(stats, vocoder_job_s=7.0))

    asyncio.run(scenario())
