"""Drafts change nothing: a foreseeing drafter that errs on purpose, neighbours who come and go, cancels."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.counters import Counters
from engines.engine import Engine
from engines.errors import ConfigError
from engines.families.base import Drafter, Frames, Rows, Sampling
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Append, Cancel, Chunk, EndText, Event, Submit, options
from engines.runtime.base import IntArray
from engines.scheduling.device_profile import DeviceProfile
from engines.sequence import Sequence
from engines.speculation import DraftSwitch, Speculation
from engines.text import FrontEnd
from models.cpu_networks import speech_model
from tests.engine.driving import OTHERS, TEXT, pcm_of, settle
from tests.engine.toys import FakeClock, NgramDrafter, ToyVocoder

LISTS = Path(__file__).parents[2] / "models" / "judge" / "lists"
Samples = dict[int, list[int]]  # by seed: what was spoken


class Foreseeing(NgramDrafter):
    """Knows what will be spoken, and says something else for a share of its guesses."""

    def __init__(self, samples: Samples, wrong: float, frames: int = 2) -> None:
        super().__init__(frames)  # as many as the bundle's graph can check
        self.samples, self.wrong = samples, wrong
        self.rng = random.Random(4)

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Items[Sampling], keys: IntArray, made: Items[Frames]
    ) -> Frames:
        drafted = np.zeros((len(rows), self.frames, 1), np.int64)
        for row, (seed, done) in enumerate(keys.tolist()):
            for place, code in enumerate(self.samples[seed][done : done + self.frames]):
                drafted[row, place] = (code + 1) % 4096 if self.rng.random() < self.wrong else code
        return drafted


def make(bundle: Bundle, front_end: FrontEnd, drafter: Drafter, **settings: object) -> Engine:
    defaults: dict[str, object] = {"slots": 12, "workers": False, "drafts": DraftMode.ON}
    config = EngineConfig(**(defaults | settings))  # type: ignore[arg-type]
    return load_engine(bundle, config, front_end=front_end, drafter=drafter)


def say(engine: Engine, texts: list[str], temperature: float | None = None) -> list[bytes]:
    """All at once; the text's place is its seed and chooses its voice."""
    for seed, text in enumerate(texts):
        voice = engine.spec.voices[seed % 2].id
        engine.submit(Submit(request_id=str(seed), voice=voice, seed=seed, options=options(temperature=temperature)))
        engine.submit(Append(request_id=str(seed), text=text))
        engine.submit(EndText(request_id=str(seed)))
    events = settle(engine)
    engine.check_integrity()
    return [pcm_of(events, str(seed)) for seed in range(len(texts))]


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> Samples:
    """What the LM says from now on, by seed."""
    spoken: Samples = {}
    commit = Sequence.commit

    def record(self: Sequence, frame: Frames, *made: Any) -> bool:
        spoken.setdefault(self.request.seed, []).append(int(frame[0]))
        return commit(self, frame, *made)

    monkeypatch.setattr(Sequence, "commit", record)
    return spoken


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("wrong", [0.0, 0.3, 1.0])
def test_drafts_change_no_byte(
    bundle: Bundle, front_end: FrontEnd, samples: Samples, wrong: float, temperature: float
) -> None:
    for text in (TEXT, *OTHERS):
        samples.clear()
        plain = make(bundle, front_end, NgramDrafter(), drafts=DraftMode.OFF)
        expected = say(plain, [text], temperature)
        plain.close()
        engine = make(bundle, front_end, Foreseeing({0: list(samples[0])}, wrong))
        assert say(engine, [text], temperature) == expected
        counters = engine.stats().counters
        if wrong == 0:
            assert counters["drafts_accepted"] > 0.5 * counters["frames"], "right guesses stand"
        if wrong == 1:
            assert counters["drafts_accepted"] == 0
        engine.close()


def test_several_steps_have_the_bits_of_single_ones(bundle: Bundle) -> None:
    """Logits and the cache, over a whole cache's length and with steps taken back."""
    single, several = speech_model(bundle, 3), speech_model(bundle, 3)
    rng, steps, past = np.random.default_rng(6), several.most_steps, 0
    table_rows = bundle.adapter.offsets["speaker"] + len(bundle.voices)
    while past + steps <= bundle.adapter.max_steps:
        features = rng.integers(0, table_rows, (steps, bundle.adapter.features))
        several.past[1] = past
        found = several.verify(1, features).copy()
        for step in range(steps):
            single.features[1], single.past[1] = features[step], past + step
            assert np.array_equal(found[step], single.step(1, 2)[0])
        past += int(rng.integers(1, steps + 1))  # the others are taken back


def test_switching_at_any_moment(bundle: Bundle, front_end: FrontEnd, samples: Samples) -> None:
    """Neighbours come and go, so that a sequence is drafted, plain in a batch, and drafted again."""
    plain = make(bundle, front_end, NgramDrafter(), drafts=DraftMode.OFF)
    texts = [TEXT * 3, *OTHERS, *OTHERS]
    expected = say(plain, texts)
    plain.close()
    engine = make(bundle, front_end, Foreseeing(dict(samples), 0.2))
    order, events, opened = random.Random(8), list[Event](), 0
    while engine.has_work or opened < len(texts):
        if opened == 0 or (opened < len(texts) and order.random() < 0.06):
            voice = engine.spec.voices[opened % 2].id
            engine.submit(Submit(request_id=str(opened), voice=voice, seed=opened))
            engine.submit(Append(request_id=str(opened), text=texts[opened]))
            engine.submit(EndText(request_id=str(opened)))
            opened += 1
        events += engine.step()
    assert [pcm_of(events, str(seed)) for seed in range(len(texts))] == expected
    counters = engine.stats().counters
    assert 0 < counters["drafts_accepted"] < counters["frames"] / 2
    engine.close()


@pytest.mark.parametrize("drafts", [DraftMode.OFF, DraftMode.AUTO])
def test_a_new_stream_in_a_large_batch_gets_its_first_chunk_in_one_plan(
    bundle: Bundle, front_end: FrontEnd, drafts: DraftMode
) -> None:
    crowd, profile = 48, DeviceProfile(frame_s=bundle.code_s, cores=1, overlaps=False)
    for rows, seconds in ((1, 1e-3), (64, 30e-3)):
        profile.steps.add(rows, seconds)
    assert profile.is_crowded(crowd)
    config = EngineConfig(workers=False, sheds=False, drafts=drafts)
    engine = load_engine(bundle, config, front_end=front_end, profile=profile)
    for seed in range(crowd):
        engine.submit(Submit(request_id=str(seed), voice=bundle.voices[0].id, seed=seed))
        engine.submit(Append(request_id=str(seed), text=TEXT * 9))
    sounding: set[str] = set()
    while len(sounding) < crowd:
        sounding.update(event.request_id for event in engine.step() if isinstance(event, Chunk))
    for name in ("new", "newer"):
        engine.submit(Submit(request_id=name, voice=bundle.voices[0].id, seed=1))
        engine.submit(Append(request_id=name, text=TEXT))
        engine.submit(EndText(request_id=name))
    engine.attend()
    new_streams = [engine.sequences[name] for name in ("new", "newer")]
    assert [one.made for one in new_streams] == [0, 0]
    engine.advance()
    while engine.planned:
        engine.advance()
    assert all(one.made >= 4 for one in new_streams)
    engine.close()


@pytest.mark.parametrize("fails", [False, True])
def test_one_call_verifies_several_rows(bundle: Bundle, front_end: FrontEnd, samples: Samples, fails: bool) -> None:
    """Whatever fails with a batch is done one by one."""
    plain = make(bundle, front_end, NgramDrafter(), drafts=DraftMode.OFF)
    texts = [TEXT, *OTHERS]
    expected = say(plain, texts)
    plain.close()
    engine = make(bundle, front_end, Foreseeing(dict(samples), 0.2), draft_rows=12, verify_rows=12)
    verified, step = list[int](), engine.model.talker.step

    def counted(slots: IntArray, *others: Any) -> Any:
        if others[-1] is not None:
            verified.append(len(slots))
            if fails and len(slots) > 1:
                raise RuntimeError("too many rows")
        return step(slots, *others)

    engine.model.talker.step = counted  # type: ignore[method-assign]
    assert say(engine, texts) == expected
    assert max(verified) > 1
    assert engine.stats().counters["drafts_accepted"] > 0
    engine.close()


def test_rows_are_switched_by_powers_of_two() -> None:
    """1, 2, 3 to 4, 5 to 8, ...: what is measured of one number holds for its neighbours."""
    clock = FakeClock()
    talker: Any = SimpleNamespace(draft_frames=NgramDrafter().frames)
    speculation = Speculation(talker, NgramDrafter(), EngineConfig(draft_rows=12, verify_rows=12), Counters(), clock)
    ways = list[bool]()
    for _ in range(2_000):
        ways.append(speculation.pays[4 - 1])
        speculation.observe(3, drafted=ways[-1], frames=1, seconds=2.0 if ways[-1] else 1.0)
    assert ways[-1_000:].count(True) < 100, "4 rows learn from 3"
    pays = speculation.pays
    assert len(pays) == 12
    assert all(pays[rows - 1] for rows in (1, 2, 5, 8, 9, 12)), "nothing is known of these"


def test_cancel_while_drafting(bundle: Bundle, front_end: FrontEnd, samples: Samples) -> None:
    plain = make(bundle, front_end, NgramDrafter(), drafts=DraftMode.OFF)
    expected = say(plain, [TEXT])
    plain.close()
    for steps in range(0, 30, 3):
        engine = make(bundle, front_end, Foreseeing(dict(samples), 0.2))
        engine.submit(Submit(request_id="0", voice=bundle.voices[0].id, seed=0))
        engine.submit(Append(request_id="0", text=TEXT))
        engine.submit(EndText(request_id="0"))
        events: list[Event] = []
        for _ in range(steps):
            events += engine.step()
        engine.submit(Cancel(request_id="0"))
        events += settle(engine)
        heard = b"".join(event.pcm for event in events if isinstance(event, Chunk))
        assert expected[0].startswith(heard)
        engine.check_integrity()
        assert say(engine, [TEXT]) == expected, "nothing of the cancelled one is left"
        engine.close()


def test_the_shipped_forecast_is_mostly_right(bundle: Bundle, front_end: FrontEnd) -> None:
    """One that looked a step too far or too near would change no audio, only be wrong."""
    engine = load_engine(bundle, EngineConfig(slots=1, workers=False, drafts=DraftMode.ON), front_end=front_end)
    say(engine, [TEXT])
    say(engine, [OTHERS[0]], temperature=0.5)
    counters = engine.stats().counters
    assert counters["drafts_accepted"] > 0.5 * counters["drafts_proposed"] > 50
    engine.close()


def test_a_failing_drafter_costs_nothing_but_its_drafts(bundle: Bundle, front_end: FrontEnd) -> None:
    class Failing(NgramDrafter):
        def propose(self, *asked: object) -> Frames:
            raise RuntimeError("no opinion")

    plain, engine = make(bundle, front_end, NgramDrafter(), drafts=DraftMode.OFF), make(bundle, front_end, Failing())
    assert say(engine, [TEXT]) == say(plain, [TEXT])
    assert engine.stats().counters["draft_faults"] > 50
    plain.close()
    engine.close()


def test_a_drafter_that_guesses_too_far_is_refused(bundle: Bundle, front_end: FrontEnd) -> None:
    assert bundle.drafts is not None
    with pytest.raises(ConfigError, match=f"guesses 9 steps, the bundle's graph checks {bundle.drafts.length}"):
        make(bundle, front_end, NgramDrafter(9))


def test_ngrams_continue_as_before() -> None:
    none = np.zeros((1, 2, 0), np.int64)
    made = [np.array([5, 6, 7, 8, 9, 5, 6])[:, None]]
    assert NgramDrafter(2).propose(none, none, [], none, made)[0, :, 0].tolist() == [7, 8]


class TestSwitch:
    def run(self, switch: DraftSwitch, cost_s: Callable[[bool], float], tokens: int) -> Iterator[bool]:
        for _ in range(tokens):
            yield switch.on
            switch.observe(1, cost_s(switch.on))

    @pytest.mark.parametrize("faster", [True, False])
    def test_finds_the_faster_way(self, faster: bool) -> None:
        switch = DraftSwitch()
        ways = list(self.run(switch, lambda on: 1.0 if on is faster else 1.5, 10_000))
        assert ways.count(faster) / len(ways) > 0.97

    def test_notices_when_the_other_way_becomes_faster(self) -> None:
        switch = DraftSwitch()
        list(self.run(switch, lambda on: 1.0 if on else 1.5, 2_000))
        ways = list(self.run(switch, lambda on: 2.0 if on else 1.5, 20_000))
        assert ways[-2_000:].count(False) > 1_800

    def test_a_look_at_a_far_slower_way_is_short(self) -> None:
        ways = list(self.run(DraftSwitch(), lambda on: 3.0 if on else 1.0, 2_000))
        looks = [len(list(run)) for on, run in groupby(ways) if on]
        assert looks[0] > 40, "nothing else is known at first"
        assert len(looks) > 2
        assert looks[-1] == 12

    def test_one_slow_step_does_not_turn_it(self) -> None:
        switch = DraftSwitch()
        list(self.run(switch, lambda on: 1.0 if on else 1.5, 200))
        switch.observe(1, 1000.0)
        assert switch.best

    @pytest.mark.parametrize("gain", [1.1, 0.9])
    def test_steps_of_many_tokens_count_by_their_tokens(self, gain: float) -> None:
        """A drafted step costs the same whatever it brings; the first ones are ten times as slow."""
        switch, rng, made = DraftSwitch(), random.Random(5), {True: 0, False: 0}
        per_step = 1.8 / gain  # 1.8 tokens a drafted step on average, a plain token costs 1
        for step in range(20_000):
            on = switch.on
            tokens = rng.choice((1, 1, 2, 2, 3)) if on else 1
            made[on] += tokens
            switch.observe(tokens, (per_step if on else 1.0) * (10 if step < 2 else 1))
        assert made[gain > 1] / sum(made.values()) > 0.9


def test_two_hundred_utterances_with_the_shipped_heads(bundle: Bundle, front_end: FrontEnd, samples: Samples) -> None:
    """Over 20,000 steps, half of them sampled: drafted one at a time, and in one batch without drafts."""
    sentences = [line for name in ("harvard", "everyday") for line in (LISTS / f"{name}.txt").read_text().splitlines()]
    rng = random.Random(11)
    texts = [" ".join(rng.sample(sentences, 2)) for _ in range(200)]

    def speak(drafts: DraftMode, together: int) -> tuple[Samples, dict[str, int]]:
        samples.clear()
        config = EngineConfig(slots=together, workers=False, drafts=drafts, sheds=False)
        engine = load_engine(bundle, config, front_end=front_end, vocoder=ToyVocoder(bundle, FakeClock(), 0.0, 0.0))
        waiting = list(enumerate(texts))
        while waiting:
            for seed, text in waiting[:together]:
                temperature = 0.7 if seed % 2 else 0.0
                voice = bundle.voices[seed % len(bundle.voices)].id
                engine.submit(
                    Submit(request_id=str(seed), voice=voice, seed=seed, options=options(temperature=temperature))
                )
                engine.submit(Append(request_id=str(seed), text=text))
                engine.submit(EndText(request_id=str(seed)))
            settle(engine)
            waiting = waiting[together:]
        engine.close()
        return {seed: list(spoken) for seed, spoken in samples.items()}, engine.stats().counters

    plain, _ = speak(DraftMode.OFF, 50)
    drafted, counters = speak(DraftMode.ON, 1)
    assert sum(map(len, plain.values())) > 20_000
    assert drafted == plain
    assert counters["drafts_accepted"] > 100
