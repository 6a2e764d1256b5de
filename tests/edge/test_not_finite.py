"""The fault drill with the real engine: its networks return NaN, for one voice or for all.

The engine is built here, around networks that can be poisoned, and served by the server's own worker; no setting of the
server's reaches this.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.families.phone_pointer.networks import SpectrumModel, SpeechModel, State
from engines.families.phone_pointer.talker import PointerTalker
from engines.families.phone_pointer.vocoder import PointerVocoder
from engines.runtime.base import FloatArray, IntArray
from engines.runtime.onnx_cpu import OnnxCpu
from server.app import create_app
from server.engine import worker as engine_worker
from server.settings import Settings
from server.state import State as ServerState
from tests.edge.toy import AsgiSocket

TEXT = "One voice may fail, and the other goes on. "
VOICES = {"rms": 0, "slt": 1}


class Poison:
    """Voices, by number, whose values are not finite. Shared with the engine's thread."""

    def __init__(self) -> None:
        self.in_lm: set[int] = set()
        self.in_vocoder: set[int] = set()


class PoisonedLm(SpeechModel):
    poison: Poison

    first_speaker: int

    def step(self, first: int, last: int) -> FloatArray:
        bad = np.isin(self.features[first:last, -1] - self.first_speaker, list(self.poison.in_lm))
        code_logits = super().step(first, last).copy()
        code_logits[bad] = np.nan
        return code_logits

    def verify(self, slot: int, features: IntArray) -> FloatArray:
        code_logits = super().verify(slot, features).copy()
        if int(features[0, -1]) - self.first_speaker in self.poison.in_lm:
            code_logits[:] = np.nan
        return code_logits


class PoisonedVocoder(SpectrumModel):
    poison: Poison

    def run(
        self, frames: IntArray, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        spectrum, state = super().run(frames, voices, pitch, noise, state)
        bad = np.isin(voices.argmax(axis=1), list(self.poison.in_vocoder))
        spectrum = spectrum.copy()
        spectrum[bad] = np.nan
        for array in state.values():
            if array.dtype.kind == "f":
                array[bad] = np.nan  # the row's memory is spoilt too: its successor must not inherit it
        return spectrum, state


class Lives:
    """The worker: the first life can be poisoned, later ones are sound."""

    def __init__(self) -> None:
        self.poison, self.count = Poison(), 0

    def __call__(self, end: socket.socket, folder: Path | None, config: EngineConfig) -> None:
        self.count += 1
        poison = self.poison if self.count == 1 else Poison()

        def load() -> Engine:
            bundle = load_bundle(folder)
            lm, vocoder = PoisonedLm(bundle, OnnxCpu(), config.slots), PoisonedVocoder(bundle, OnnxCpu())
            lm.first_speaker = bundle.adapter.offsets["speaker"]
            lm.poison = vocoder.poison = poison
            talker = PointerTalker(bundle, lm)
            return load_engine(bundle, config, talker=talker, vocoder=PointerVocoder(bundle, vocoder, config.slots))

        engine_worker.run_engine(end, load)


@asynccontextmanager
async def serving(lives: Lives) -> AsyncIterator[FastAPI]:
    app = create_app(Settings(shed=False, slots=2, allowed_hosts="here"), worker=lives)
    state: ServerState = app.state.parlando
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(state.engine.wait_ready(), 60)
        yield app
        assert not state.live
        assert state.metrics.registry.get_sample_value("tts_streams_active") == 0


async def speech(socket: AsgiSocket, voice: str) -> bytes:
    socket.say("start", voice=voice, seed=4)
    socket.say("append", text=TEXT)
    socket.say("end")
    pcm, events = await socket.hear("done", "error")
    assert events[-1]["type"] == "done", events[-1]
    return pcm


@pytest.mark.parametrize("where", ["in_lm", "in_vocoder"])
def test_only_the_stream_concerned_hears_of_it(where: str) -> None:
    async def scenario() -> None:
        lives = Lives()
        async with serving(lives) as app, AsgiSocket(app) as sound, AsgiSocket(app) as faulty:
            wanted = {voice: await speech(sound, voice) for voice in VOICES}
            sound.say("start", voice="rms", seed=4)
            faulty.say("start", voice="slt", seed=4)
            for socket in (sound, faulty):
                socket.say("append", text=TEXT)
                await socket.hear("words")
            getattr(lives.poison, where).add(VOICES["slt"])
            faulty.say("append", text=TEXT)
            _, events = await faulty.hear("error")
            assert events[-1]["code"] == "engine_fault"
            assert "not finite" in events[-1]["message"]
            sound.say("cancel")
            await sound.hear("cancelled")
            assert await speech(sound, "rms") == wanted["rms"]
            getattr(lives.poison, where).clear()
            for voice in VOICES:  # in both slots, of which one was spoilt
                both = await asyncio.gather(speech(sound, voice), speech(faulty, voice))
                assert both == [wanted[voice]] * 2
            assert (lives.count, app.state.parlando.engine.restarts) == (1, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("where", ["in_lm", "in_vocoder"])
def test_an_engine_that_no_longer_speaks_is_replaced(where: str) -> None:
    async def scenario() -> None:
        lives = Lives()
        async with serving(lives) as app, AsgiSocket(app) as socket, AsgiSocket(app) as idle:
            state: ServerState = app.state.parlando
            wanted = await speech(socket, "slt")
            idle.say("start", seed=3)
            idle.say("append", text="Waiting for more ")
            heard, _ = await idle.hear("waiting_for_text")
            getattr(lives.poison, where).update(VOICES.values())
            socket.say("append", text=TEXT)
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "engine_fault"
            while state.ready:
                await asyncio.sleep(0.001)
            await asyncio.wait_for(state.engine.wait_ready(), 60)
            assert (lives.count, state.engine.restarts) == (2, 1)
            idle.say("append", text="words.")  # the engine that died had spoken the first part
            idle.say("end")
            rest, _ = await idle.hear("done")
            idle.say("start", seed=3)
            for piece in ("Waiting for more ", "words."):
                idle.say("append", text=piece)
            idle.say("end")
            whole, _ = await idle.hear("done")
            assert heard + rest == whole
            assert await speech(socket, "slt") == wanted

    asyncio.run(scenario())
