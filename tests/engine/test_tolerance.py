"""Drafts with a tolerance: guesses that are only near stand, and are what is spoken and what the next steps saw."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence as Items
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.errors import ConfigError
from engines.families.base import Frames, Rows, Sampling, Talker
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.drafter import stands
from engines.messages import Append, Cancel, EndText, Event, LeadingSilence, Submit, options
from engines.runtime.base import IntArray
from engines.sequence import Sequence
from engines.synth import speak
from engines.text import FrontEnd
from tests.engine.driving import OTHERS, TEXT, pcm_of, settle
from tests.engine.toys import FakeClock, ToyTalker

SLOTS = 6


def digits_of(levels: tuple[int, ...], code: int) -> list[int]:
    return [code // math.prod(levels[:place]) % count for place, count in enumerate(levels)]


def code_of(levels: tuple[int, ...], digits: list[int]) -> int:
    return sum(digit * math.prod(levels[:place]) for place, digit in enumerate(digits))


class TestDigits:
    levels = st.lists(st.integers(2, 9), min_size=1, max_size=5).map(tuple)

    @given(levels, st.integers(0, 3), st.data())
    def test_all_digits_near_and_no_other_stands(
        self, levels: tuple[int, ...], tolerance: int, data: st.DataObject
    ) -> None:
        sampled = data.draw(st.integers(0, math.prod(levels) - 1))
        digits = digits_of(levels, sampled)
        near = [
            data.draw(st.integers(max(0, digit - tolerance), min(count - 1, digit + tolerance)))
            for digit, count in zip(digits, levels, strict=True)
        ]
        assert stands(levels, code_of(levels, near), sampled, tolerance)
        place = data.draw(st.integers(0, len(levels) - 1))
        far = [digit for digit in range(levels[place]) if abs(digit - digits[place]) > tolerance]
        assume(far)
        near[place] = data.draw(st.sampled_from(far))
        assert not stands(levels, code_of(levels, near), sampled, tolerance)

    def test_edges_do_not_wrap(self) -> None:
        levels = (8, 8, 8, 8)
        assert not stands(levels, 0, 7, 1), "first and last level of one digit"
        assert not stands(levels, 7, 8, 1), "neighbouring numbers, seven levels apart in the last digit"
        assert stands(levels, 8, 16, 1)
        assert stands(levels, 8 + 1, 16, 1)

    @given(st.integers(0, 4096), st.integers(0, 4096))
    def test_exact_is_equality_and_more_tolerance_keeps_all_that_stood(self, guess: int, sampled: int) -> None:
        found = [stands((8, 8, 8, 8), guess, sampled, tolerance) for tolerance in range(4)]
        assert found[0] is (guess == sampled)
        assert found == sorted(found)

    @pytest.mark.parametrize("tolerance", [0, 1, 3])
    def test_what_is_no_code_is_near_nothing(self, tolerance: int) -> None:
        for guess in (-1, 4096):
            assert not stands((8, 8, 8, 8), guess, 0, tolerance)
            assert not stands((8, 8, 8, 8), guess, 4095, tolerance)


class Beside:
    """Guesses what follows in `samples`, at each place with some digits as far off as one of `offs` says."""

    def __init__(self, bundle: Bundle, samples: list[int], offs: tuple[int, ...], tolerance: int) -> None:
        assert bundle.drafts is not None
        self.levels, self.samples, self.offs, self.tolerance = bundle.codes.levels, samples, offs, tolerance
        self.frames = bundle.drafts.length

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Items[Sampling], keys: IntArray, made: Items[Frames]
    ) -> Frames:
        drafted = np.zeros((1, self.frames, 1), np.int64)
        done = len(made[0])
        for place in range(done, min(done + self.frames, len(self.samples))):
            drafted[0, place - done] = self.guess(place)
        return drafted

    def stands(self, drafted: Frames, sampled: Frames) -> bool:
        return stands(self.levels, int(drafted[0]), int(sampled[0]), self.tolerance)

    def guess(self, place: int) -> int:
        rng, digits = random.Random(place), digits_of(self.levels, self.samples[place])
        off = rng.choice(self.offs)
        for dimension in rng.sample(range(len(digits)), rng.randint(1, len(digits))):
            up = digits[dimension] + off < self.levels[dimension]
            digits[dimension] += off if up else -off
        return code_of(self.levels, digits)


Spoken = tuple[bytes, list[int], dict[str, int]]  # PCM, codes, counters


class Speaker:
    """Speaks one text in engines of many settings, and knows the codes."""

    def __init__(self, bundle: Bundle, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundle, self.front_end = bundle, front_end
        self.samples: list[int] = []  # the model's, and guesses where they stood
        self.forced: list[int] | None = None  # what later steps see in place of the samples
        commit = Sequence.commit

        def record(sequence: Sequence, frame: Frames, *made: Any) -> bool:
            self.samples.append(int(frame[0]))
            goes_on = commit(sequence, frame, *made)
            if self.forced is not None and sequence.length is not None:
                spoken = np.array([[self.forced[len(self.samples) - 1]]])
                self.talker.keep(np.array([sequence.slot]), np.array([sequence.length]), spoken)
            return goes_on

        monkeypatch.setattr(Sequence, "commit", record)

    def engine(
        self,
        offs: tuple[int, ...] = (0,),
        known: list[int] | None = None,
        talker: Talker | None = None,
        **settings: object,
    ) -> Engine:
        defaults: dict[str, object] = {"slots": SLOTS, "workers": False, "drafts": DraftMode.ON, "sheds": False}
        config = EngineConfig(**(defaults | settings))  # type: ignore[arg-type]
        drafter = Beside(self.bundle, known or [], offs, config.draft_tolerance)
        engine = load_engine(self.bundle, config, front_end=self.front_end, talker=talker, drafter=drafter)
        self.talker = engine.model.talker
        return engine

    def say(self, engine: Engine, temperature: float = 0.0) -> Spoken:
        """And closes it."""
        self.samples.clear()
        ask(engine, temperature)
        events = settle(engine)
        engine.check_integrity()
        engine.close()
        return pcm_of(events, "0"), list(self.samples), engine.stats().counters

    def plain(self, temperature: float = 0.0) -> Spoken:
        return self.say(self.engine(drafts=DraftMode.OFF), temperature)

    def near(self, offs: tuple[int, ...], tolerance: int, temperature: float = 0.0) -> Spoken:
        """With drafts that know what the plain way says, as far as the sequence has gone that way."""
        known = self.plain(temperature)[1]
        return self.say(self.engine(offs, known, draft_tolerance=tolerance), temperature)


def ask(engine: Engine, temperature: float = 0.0) -> None:
    engine.submit(
        Submit(request_id="0", voice=engine.spec.voices[0].id, seed=3, options=options(temperature=temperature))
    )
    engine.submit(Append(request_id="0", text=TEXT))
    engine.submit(EndText(request_id="0"))


@pytest.fixture
def speaker(bundle: Bundle, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch) -> Speaker:
    return Speaker(bundle, front_end, monkeypatch)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_exact_takes_no_neighbour(speaker: Speaker, temperature: float) -> None:
    pcm, codes, _ = speaker.plain(temperature)
    drafted_pcm, drafted, counters = speaker.near((0, 1), 0, temperature)
    assert (drafted_pcm, drafted) == (pcm, codes)
    assert counters["drafts_accepted"] > 0
    assert counters["drafts_tolerated"] == 0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("tolerance", [1, 2])
def test_spoken_frames_are_near_what_the_model_samples_after_them(
    speaker: Speaker, temperature: float, tolerance: int
) -> None:
    """What was spoken is forced on a plain engine, whose samples then judge it: distance, count, and what steps see."""
    exact_pcm, exact, _ = speaker.plain(temperature)
    pcm, spoken, counters = speaker.near((0, tolerance, tolerance), tolerance, temperature)
    assert len(pcm) == len(exact_pcm), "when phones end is not the codes' affair"
    assert spoken != exact
    speaker.forced = spoken
    _, samples, _ = speaker.plain(temperature)
    levels = speaker.bundle.codes.levels
    assert all(stands(levels, code, sampled, tolerance) for code, sampled in zip(spoken, samples, strict=True))
    differing = sum(code != sampled for code, sampled in zip(spoken, samples, strict=True))
    assert differing == counters["drafts_tolerated"] > 0


def test_one_beyond_falls(speaker: Speaker) -> None:
    pcm, codes, _ = speaker.plain()
    drafted_pcm, drafted, counters = speaker.near((2,), 1)
    assert (drafted_pcm, drafted) == (pcm, codes)
    assert counters["drafts_proposed"] > 0
    assert counters["drafts_accepted"] == counters["drafts_tolerated"] == 0


class Scripted(ToyTalker):
    """Samples the same at a place of a segment whatever was spoken before, so that every guess is judged beforehand."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, FakeClock(), 0.0, 0.0)
        self._count = bundle.codes.count

    def codes(self, positions: IntArray) -> IntArray:
        return np.vectorize(lambda place: np.random.default_rng(place).integers(self._count))(positions)


def test_takes_at_least_what_the_exact_way_takes(speaker: Speaker) -> None:
    script = speaker.say(speaker.engine(drafts=DraftMode.OFF, talker=Scripted(speaker.bundle)))[1]
    offs, found = (0, 0, 0, 1, 2, 3), {}
    for tolerance in (0, 1, 2):
        engine = speaker.engine(offs, script, Scripted(speaker.bundle), draft_tolerance=tolerance)
        _, spoken, counters = found[tolerance] = speaker.say(engine)
        guesses = [Beside(speaker.bundle, script, offs, 0).guess(place) for place in range(len(script))]
        levels = speaker.bundle.codes.levels
        strange = [place for place, code in enumerate(spoken) if code != script[place]]
        assert all(spoken[place] == guesses[place] for place in strange), "what differs from the sample is the draft"
        assert all(stands(levels, spoken[place], script[place], tolerance) for place in strange)
        assert len(strange) == counters["drafts_tolerated"]
    stood = [sum(found[each][2][f"drafts_{how}"] for how in ("accepted", "tolerated")) for each in (0, 1, 2)]
    rows = [found[each][2]["lm_rows"] for each in (0, 1, 2)]
    assert stood[0] < stood[1] < stood[2]
    assert rows[0] > rows[1] > rows[2]


def test_cancel_at_any_step(speaker: Speaker) -> None:
    known = speaker.plain()[1]
    for steps in range(1, 30, 4):
        engine = speaker.engine((0, 1), known, draft_tolerance=1)
        ask(engine)
        for _ in range(steps):
            engine.step()
        engine.submit(Cancel(request_id="0"))
        settle(engine)
        engine.check_integrity()
        after, before = speaker.say(engine), speaker.near((0, 1), 1)
        assert after[:2] == before[:2], "nothing of the cancelled one is left"


def test_neighbours_turn_drafts_off_and_all_ends_well(speaker: Speaker) -> None:
    """No law of audio holds here, but lengths do, and memory."""
    engine = speaker.engine((1,), speaker.plain()[1], draft_tolerance=1)
    events: list[Event] = []
    texts = [TEXT, *OTHERS, TEXT]
    for place, text in enumerate(texts):
        submit = Submit(
            request_id=str(place),
            voice=engine.spec.voices[0].id,
            seed=place,
            leading_silence=LeadingSilence.KEEP,  # how much of it there is hangs on the codes
        )
        engine.submit(submit)
        engine.submit(Append(request_id=str(place), text=text))
        engine.submit(EndText(request_id=str(place)))
        events += [event for _ in range(12) for event in engine.step()]
    events += settle(engine)
    engine.check_integrity()
    counters = engine.stats().counters
    engine.close()
    assert counters["drafts_tolerated"] > 0
    exact = speaker.engine(drafts=DraftMode.OFF)
    lengths = [len(speak(exact, text, leading_silence=LeadingSilence.KEEP).pcm) for text in texts]
    exact.close()
    assert [len(pcm_of(events, str(place))) for place in range(len(texts))] == lengths


@pytest.mark.parametrize("tolerance", [-1, 4])
def test_out_of_range_is_refused(tolerance: int) -> None:
    with pytest.raises(ConfigError, match=rf"draft_tolerance must be 0 \(exact\) to 3, got {tolerance}"):
        EngineConfig(draft_tolerance=tolerance)


def test_what_cannot_run_is_refused(bundle: Bundle, front_end: FrontEnd) -> None:
    with pytest.raises(ConfigError, match="no meaning with drafts off"):
        EngineConfig(draft_tolerance=1, drafts=DraftMode.OFF)
    without = msgspec.structs.replace(bundle, drafts=None)
    with pytest.raises(ConfigError, match="needs drafts, the bundle 'flite' brings none"):
        load_engine(without, EngineConfig(draft_tolerance=1, slots=1, workers=False), front_end=front_end)
    coarse = msgspec.structs.replace(bundle, codes=msgspec.structs.replace(bundle.codes, levels=(4,) * 6))
    coarse.check_draft_tolerance(2)
    with pytest.raises(ConfigError, match="lets any guess stand: the codes' digits have 4, 4, 4, 4, 4, 4 levels"):
        coarse.check_draft_tolerance(3)


def test_the_shipped_heads(bundle: Bundle, front_end: FrontEnd) -> None:
    assert bundle.drafts is not None, "the shipped bundle brings draft heads"
    counters = {}
    for tolerance in (0, 1):
        config = EngineConfig(slots=1, workers=False, drafts=DraftMode.ON, draft_tolerance=tolerance)
        engine = load_engine(bundle, config, front_end=front_end)
        for _ in range(2):
            ask(engine)
            settle(engine)
        engine.check_integrity()
        counters[tolerance] = engine.stats().counters
        engine.close()
    assert counters[0]["frames"] == counters[1]["frames"]
    assert counters[0]["drafts_tolerated"] == 0 < counters[1]["drafts_tolerated"]
    assert counters[1]["lm_rows"] < counters[0]["lm_rows"]
