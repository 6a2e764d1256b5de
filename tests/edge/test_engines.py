"""Several engines behind one server: where streams go, what a rejection does, and what a crash costs."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest
from fastapi import FastAPI

from engines.config import DeviceChoice, EngineConfig
from engines.errors import ConfigError
from server.engine import client, link
from server.settings import Settings, num_engines
from server.state import State
from tests.edge.toy import WORD_S, AsgiSocket, ToyEngine, serving, word_pcm

WORDS = [f"word{number}" for number in range(40)]
TEXT = " ".join(WORDS)
WHOLE = b"".join(word_pcm(word) for word in WORDS)


class Mortal(ToyEngine):
    """Dies at the first word after it was told to; lives on once restarted."""

    def __init__(self) -> None:
        self.told_to_die = threading.Event()
        super().__init__(self._perhaps_die)

    def _perhaps_die(self) -> None:
        if self.told_to_die.is_set():
            self.told_to_die.clear()
            raise ZeroDivisionError("as told")


def engine_of(toys: list[Mortal], word: str) -> Mortal:
    (found,) = (toy for toy in toys if any(word in voice.text for voice in toy.voices.values()))
    return found


def test_streams_spread_and_a_rejected_start_goes_to_the_next() -> None:
    async def scenario() -> None:
        toys = [Mortal(), Mortal()]
        async with serving(toys, engines="2") as app, AsgiSocket(app) as one, AsgiSocket(app) as two:
            one.say("append", text="alpha ")
            await one.hear("waiting_for_text")
            two.say("append", text="beta ")
            await two.hear("waiting_for_text")
            assert engine_of(toys, "alpha") is not engine_of(toys, "beta")
            for socket in (one, two):
                socket.say("cancel")
                await socket.hear("cancelled")
            toys[0].full = True
            for socket in (one, two):
                socket.say("append", text="gamma")
                socket.say("end")
                pcm, _ = await socket.hear("done")
                assert pcm == word_pcm("gamma")
            toys[1].full = True
            one.say("append", text="delta")
            _, events = await one.hear("error")
            assert events[-1]["code"] == "overloaded"

    asyncio.run(scenario())


@pytest.mark.parametrize("fed", ["whole", "by word"])
def test_a_crash_costs_no_sample_where_samples_are_exact(fed: str) -> None:
    async def scenario() -> None:
        toys = [Mortal(), Mortal()]
        async with serving(toys, engines="2") as app, AsgiSocket(app) as one, AsgiSocket(app) as two:
            two.say("append", text="other ")
            await two.hear("waiting_for_text")
            one.say("append", text=f"{WORDS[0]} ")
            heard, _ = await one.hear("waiting_for_text")
            engine_of(toys, WORDS[0]).told_to_die.set()
            rest = TEXT[len(WORDS[0]) + 1 :]
            for piece in [rest] if fed == "whole" else [f"{word} " for word in WORDS[1:]]:
                one.say("append", text=piece)
            one.say("end")
            more, events = await one.hear("done")
            assert heard + more == WHOLE
            words = [word["text"] for event in events if event["type"] == "words" for word in event["words"]]
            assert words == WORDS[1:]
            two.say("append", text="stream")
            two.say("end")
            pcm, _ = await two.hear("done")
            assert pcm == word_pcm("stream")
            state: State = app.state.parlando
            await asyncio.wait_for(state.engine.wait_ready(), 10)
            assert state.engine.restarts == 1

    asyncio.run(scenario())


def test_a_crash_is_told_at_once_where_no_engine_makes_the_same() -> None:
    async def scenario() -> None:
        toys = [Mortal(), Mortal()]
        async with serving(toys, engines="2", draft_tolerance=1) as app, AsgiSocket(app) as socket:
            socket.say("append", text="alpha ")
            await socket.hear("waiting_for_text")
            engine_of(toys, "alpha").told_to_die.set()
            socket.say("append", text="beta ")
            _, events = await socket.hear("error")
            assert events[-1]["code"] == "engine_lost"

    asyncio.run(scenario())


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_lone_engine_goes_on_once_it_is_started_again(deaths: int) -> None:
    async def scenario() -> None:
        toy, heard = Mortal(), b""
        async with serving(toy) as app, AsgiSocket(app) as socket:
            state: State = app.state.parlando
            for word in WORDS[:deaths]:
                socket.say("append", text=f"{word} ")
                heard += (await socket.hear("waiting_for_text"))[0]
                toy.told_to_die.set()
            socket.say("append", text=" ".join(WORDS[deaths:]))
            assert (await listener_is_refused(app)) == "not_ready"
            socket.say("end")
            rest, _ = await socket.hear("done")
            assert heard + rest == WHOLE
            assert state.engine.restarts == deaths

    asyncio.run(scenario())


async def listener_is_refused(app: FastAPI) -> str:
    """Another, while there is no engine."""
    state: State = app.state.parlando
    while state.engine.ready:
        await asyncio.sleep(0)
    async with AsgiSocket(app) as other:
        other.say("append", text="other")
        _, events = await other.hear("error")
    return str(events[-1]["code"])


def test_what_kills_every_engine_is_given_up_and_its_neighbour_goes_on() -> None:
    async def scenario() -> None:
        toys = [ToyEngine(), ToyEngine()]
        async with serving(toys, engines="2") as app, AsgiSocket(app) as one, AsgiSocket(app) as two:
            one.say("append", text="alpha ")
            heard, _ = await one.hear("waiting_for_text")
            two.say("append", text="RAISE ")
            _, events = await two.hear("error")
            assert events[-1]["code"] == "engine_lost"
            one.say("append", text="beta")
            one.say("end")
            rest, _ = await one.hear("done")
            assert heard + rest == word_pcm("alpha") + word_pcm("beta")
            state: State = app.state.parlando
            assert state.engine.restarts == 2

    asyncio.run(scenario())


def test_a_cancel_is_answered_while_no_engine_is_there() -> None:
    async def scenario() -> None:
        toy = Mortal()
        async with serving(toy) as app, AsgiSocket(app) as socket:
            state: State = app.state.parlando
            socket.say("append", text="alpha ")
            await socket.hear("waiting_for_text")
            toy.told_to_die.set()
            socket.say("append", text="beta ")
            while state.engine.ready:
                await asyncio.sleep(0)
            socket.say("cancel")
            _, events = await socket.hear("cancelled")
            assert events[-1]["audio_ms"] <= 1000 * WORD_S
            assert not state.engine.ready
            await asyncio.wait_for(state.engine.wait_ready(), 10)
            assert state.engine.active == 0

    asyncio.run(scenario())


def test_an_engine_that_reads_nothing_holds_up_no_stream_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_MAX_UNREAD_BYTES", 65_536)

    async def scenario() -> None:
        toys = [Mortal(), Mortal()]
        async with (
            serving(toys, engines="2", max_message_bytes=200_000, max_characters=10**7) as app,
            AsgiSocket(app, "parlando.v1") as stuck,
            AsgiSocket(app, "parlando.v1") as other,
        ):
            state: State = app.state.parlando
            stuck.say("append", text="alpha ")
            await stuck.hear("waiting_for_text")
            full = engine_of(toys, "alpha")
            full.reads.clear()
            while not any(client.is_full for client in state.engine.clients):
                stuck.say("append", text="x" * 60_000 + " ")
                await asyncio.sleep(0.001)
            for _ in range(2):  # neither is put on the full one
                other.say("append", text="beta")
                other.say("end")
                pcm, _ = await other.hear("done")
                assert pcm == word_pcm("beta")

    asyncio.run(scenario())


def test_capacity_is_of_all_and_metrics_of_each() -> None:
    async def scenario() -> None:
        async with serving([Mortal(), Mortal()], engines="2") as app:
            state: State = app.state.parlando
            assert state.engine.stats is not None
            assert state.engine.stats.capacity == 6
            figures = state.metrics.exposition().decode()
            for engine in ("0", "1"):
                assert f'tts_capacity_streams{{engine="{engine}"}} 3.0' in figures
                assert f'tts_engine_step_seconds_sum{{engine="{engine}",stage="lm"}} 0.02' in figures
            assert figures.count("# TYPE tts_capacity_streams gauge") == 1

    asyncio.run(scenario())


class OnlyOnTheCpu(ToyEngine):
    """Ends before it is ready wherever it may take a device."""

    def __init__(self) -> None:
        super().__init__()
        self.devices: list[DeviceChoice] = []

    def __call__(self, end: socket.socket, bundle: Path | None, config: EngineConfig) -> None:
        self.devices.append(config.device)
        if config.device is not DeviceChoice.CPU:
            end.close()
            return
        super().__call__(end, bundle, config)


def test_a_device_that_ends_the_engine_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_RESTART_DELAYS_S", (0.01,))
    toy = OnlyOnTheCpu()

    async def scenario() -> None:
        async with serving(toy, gpu_form=Path("form")) as app, AsgiSocket(app) as socket:
            socket.say("append", text="alpha")
            socket.say("end")
            assert (await socket.hear("done"))[0] == word_pcm("alpha")

    asyncio.run(scenario())
    assert toy.devices == [DeviceChoice.AUTO] * 3 + [DeviceChoice.CPU]


def test_engines_are_counted_or_given() -> None:
    assert num_engines(Settings(engines="3")) == 3
    assert 1 <= num_engines(Settings(engines="auto")) <= 8
    on_a_device = Settings(engines="auto", gpu_form=Path("form"))
    assert num_engines(on_a_device) == 1
    assert num_engines(on_a_device.model_copy(update={"device": "cpu"})) == num_engines(Settings(engines="auto"))
    with pytest.raises(ConfigError, match="engines is '9'"):
        Settings.with_flags({"engines": "9"})
