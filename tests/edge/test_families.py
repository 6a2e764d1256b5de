"""The laws over a WebSocket, for model families that are nothing like the shipped voice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI

from engines.config import EngineConfig
from server.app import create_app
from server.engine.worker import run_engine
from server.settings import Settings
from tests.edge.toy import AsgiSocket
from tests.families.toy_engine import TOYS, toy_engine

TEXT = "One voice may be cut short, and the other goes on to its very end without a word lost."
_READY_WITHIN_S = 60


@asynccontextmanager
async def serving(name: str) -> AsyncIterator[FastAPI]:
    def worker(end: socket.socket, folder: Path | None, config: EngineConfig) -> None:
        run_engine(end, lambda: toy_engine(name, config))

    app = create_app(Settings(shed=False, slots=4, allowed_hosts="here"), worker=worker)
    state = app.state.parlando
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(state.engine.wait_ready(), _READY_WITHIN_S)
        yield app
        assert not state.live
        assert state.metrics.registry.get_sample_value("tts_streams_active") == 0


async def speech(socket: AsgiSocket, *pieces: str, voice: str = "rms", seed: int = 4) -> bytes:
    socket.say("start", voice=voice, seed=seed)
    for piece in pieces:
        socket.say("append", text=piece)
        await asyncio.sleep(0)
    socket.say("end")
    pcm, events = await socket.hear("done", "error")
    assert events[-1]["type"] == "done", events[-1]
    return pcm


@pytest.mark.parametrize("name", TOYS)
def test_the_same_audio_fed_in_any_way_beside_any_stream(name: str) -> None:
    async def scenario() -> None:
        async with serving(name) as app, AsgiSocket(app) as one, AsgiSocket(app) as other, AsgiSocket(app) as third:
            whole = await speech(one, TEXT)
            assert len(whole) > 24_000, "half a second at least"
            assert await speech(one, *(word + " " for word in TEXT.split())) == whole
            assert await speech(one, *TEXT) == whole
            together = await asyncio.gather(
                speech(one, TEXT), speech(other, *TEXT), speech(third, TEXT[:40], voice="slt", seed=9)
            )
            assert together[:2] == [whole, whole]
            assert together[2] != whole[: len(together[2])]
            assert await speech(other, TEXT, seed=5) != whole

    asyncio.run(scenario())


@pytest.mark.parametrize("name", TOYS)
def test_a_cancel_and_a_pause_in_the_text_leave_nothing(name: str) -> None:
    async def scenario() -> None:
        async with serving(name) as app, AsgiSocket(app) as one, AsgiSocket(app) as other:
            whole = await speech(one, TEXT)
            other.say("start", voice="rms", seed=4)
            other.say("append", text=TEXT)
            await other.hear("words")
            other.say("cancel")
            await other.hear("cancelled")
            one.say("start", voice="rms", seed=4)
            one.say("append", text=TEXT[:44])
            heard, _ = await one.hear("waiting_for_text")
            assert whole.startswith(heard)
            one.say("append", text=TEXT[44:])
            one.say("end")
            rest, _ = await one.hear("done")
            assert heard + rest == whole
            assert await speech(other, TEXT) == whole

    asyncio.run(scenario())


@pytest.mark.parametrize("name", TOYS)
def test_the_engine_says_which_model_it_has(name: str) -> None:
    async def scenario() -> None:
        async with serving(name) as app:
            spec = app.state.parlando.engine.clients[0].spec
            assert spec == TOYS[name](Path()).spec(None)  # type: ignore[arg-type]

    asyncio.run(scenario())
