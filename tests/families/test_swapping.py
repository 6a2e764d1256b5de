"""An idle stream's slot goes to a request that wants one and the stream comes back with the same bytes; both families
that swap. Nothing leaks, and a client that sends no text holds no slot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.messages import Append, Cancel, Chunk, EndText, Event, Failed, Finished, SetPaused, Started, Submit
from engines.sequence import Phase
from tests.gpu_graphs.checkpoints import write_pocket, write_qwen3_tts

WORDS = ["Hello ", "world, ", "the ", "quick ", "brown ", "fox ", "speaks. ", "Good ", "morning."]
MakeEngine = Callable[[int], Engine]


@pytest.fixture(scope="module", params=["pocket", "qwen3_tts"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("swapping")
    return (write_pocket if request.param == "pocket" else write_qwen3_tts)(folder).folder


@pytest.fixture(scope="module")
def make_engine(bundle: Path) -> MakeEngine:
    def make(slots: int) -> Engine:
        return load_engine(open_bundle(bundle), EngineConfig(slots=slots, workers=False, sheds=False))

    return make


class Driven:
    """An engine with what it told, by request."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.voice, self.events = engine, engine.spec.voices[0].id, list[Event]()

    def submit(self, name: str, text: str = "", seed: int = 3) -> None:
        rate_hz = self.engine.spec.native_rate_hz
        self.engine.submit(Submit(request_id=name, voice=self.voice, seed=seed, sample_rate_hz=rate_hz))
        if text:
            self.say(name, text)

    def say(self, name: str, text: str, *, ends: bool = True) -> None:
        self.engine.submit(Append(request_id=name, text=text))
        if ends:
            self.engine.submit(EndText(request_id=name))

    def steps(self, most: int = 3000) -> None:
        """While there is work."""
        for _ in range(most):
            if not self.engine.has_work:
                return
            self.step()
        raise AssertionError("the engine does not come to rest")

    def step(self) -> None:
        self.events += self.engine.step()
        self.engine.check_integrity()

    def pcm(self, name: str) -> bytes:
        return b"".join(one.pcm for one in self.events if isinstance(one, Chunk) and one.request_id == name)

    def ends(self, name: str) -> list[type[Event]]:
        kinds = Started, Finished, Failed
        return [type(one) for one in self.events if isinstance(one, kinds) and one.request_id == name]

    @property
    def swapped(self) -> int:
        return self.engine.stats().counters["swapped"]


@pytest.fixture(scope="module")
def alone(make_engine: MakeEngine) -> dict[str, bytes]:
    driven = Driven(make_engine(2))
    driven.submit("one", "".join(WORDS))
    driven.submit("two", "A second one.", seed=9)
    driven.steps()
    return {name: driven.pcm(name) for name in ("one", "two")}


def test_a_stream_that_is_swapped_at_any_step_has_the_same_bytes(
    make_engine: MakeEngine, alone: dict[str, bytes]
) -> None:
    engine = make_engine(1)
    for taken in (0, 1, 2, 3, 5, 8, 13, 21, 34):
        driven = Driven(engine)
        driven.submit("one", "".join(WORDS))
        for _ in range(taken):
            driven.step()
        before = driven.swapped
        engine.submit(SetPaused(request_id="one", paused=True))
        driven.steps()
        driven.submit("two", "A second one.", seed=9)
        driven.steps()
        assert driven.swapped == before + 1
        assert engine.sequences["one"].phase is Phase.SWAPPED
        engine.submit(SetPaused(request_id="one", paused=False))
        driven.steps()
        assert {name: driven.pcm(name) for name in alone} == alone, taken
        assert [driven.ends(name) for name in alone] == [[Started, Finished]] * 2
        assert engine.empty


def test_a_client_without_text_holds_no_slot(make_engine: MakeEngine, alone: dict[str, bytes]) -> None:
    driven = Driven(make_engine(1))
    driven.submit("one")
    for number, word in enumerate(WORDS):
        driven.say("one", word, ends=False)
        driven.steps()
        name = f"two {number}"
        driven.submit(name, "A second one.", seed=9)
        driven.steps()
        assert driven.ends(name) == [Started, Finished]
        assert driven.pcm(name) == alone["two"]
    driven.engine.submit(EndText(request_id="one"))
    driven.steps()
    assert driven.pcm("one") == alone["one"]
    assert driven.swapped >= 2
    assert driven.engine.empty


def test_streams_that_speak_keep_their_slots(make_engine: MakeEngine) -> None:
    driven = Driven(make_engine(1))
    driven.submit("one", "".join(WORDS))
    driven.step()
    driven.submit("two", "A second one.")
    driven.steps()
    assert (driven.ends("one"), driven.ends("two")) == ([Started, Finished], [Failed])
    assert driven.swapped == 0


def test_a_stream_that_comes_back_goes_before_new_ones(make_engine: MakeEngine, alone: dict[str, bytes]) -> None:
    driven = Driven(make_engine(1))
    driven.submit("one")
    driven.say("one", "".join(WORDS[:3]), ends=False)
    driven.steps()
    driven.submit("two", "A second one.", seed=9)
    driven.step()
    driven.say("one", "".join(WORDS[3:]))  # it waits for the slot now
    driven.submit("three", "A third one.")
    driven.steps()
    assert driven.ends("three") == [Failed]
    assert {name: driven.pcm(name) for name in alone} == alone


def test_as_many_are_swapped_as_there_are_slots_and_cancels_leak_nothing(make_engine: MakeEngine) -> None:
    driven = Driven(make_engine(2))
    for name in "abcdef":
        driven.submit(name)
        driven.say(name, "".join(WORDS), ends=False)
        driven.engine.submit(SetPaused(request_id=name, paused=True))
        driven.steps()
    assert [driven.ends(name) for name in "abcdef"] == [[Started]] * 4 + [[Failed]] * 2
    for name in "abcd":
        driven.engine.submit(Cancel(request_id=name))
        driven.step()
    assert driven.engine.empty
    driven.submit("one", "".join(WORDS))
    driven.steps()
    assert driven.ends("one") == [Started, Finished]
