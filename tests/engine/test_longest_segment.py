"""A segment ends where the speech model's training did: at a word where it can, and nothing of the text is lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.base import ScriptState, Verdict, WordTimes
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.family import PointerFamily
from engines.families.phone_pointer.networks import Durations
from engines.families.phone_pointer.segmenter import Segmenter
from engines.families.phone_pointer.word_times import WordClock
from engines.messages import Append, EndText, Event, Finished, Submit, WordTime, options
from engines.text import FrontEnd, PauseType, Phone, pause
from engines.text.phones import phone_id
from tests.engine.driving import TEXT, pcm_of, settle, submit, whole

DIGITS = ", ".join("3141592653589793238462643383279502884197169399375105820974944592307816406286")
DASHES = " - ".join(["go", "do", "up"] * 40)
LETTERS = "A. " * 200
LONG_WORD = f'Say <phoneme alphabet="ipa" ph="{"təmeɪtoʊ" * 60}">x</phoneme> now.'
BREAK = ", ".join(["yes", "no"] * 25) + '<break time="5s"/> and that was all.'
SLOWEST = 0.75


class Planned(NamedTuple):
    rows: list[list[int]]  # of all steps
    lengths: list[int]  # of the segments, in steps
    words: WordTimes
    guards: set[str]


Plan = Callable[..., Planned]


@pytest.fixture(scope="module")
def durations(bundle: Bundle) -> Iterator[Durations]:
    engine = load_engine(bundle, EngineConfig(slots=1, workers=False))
    yield engine.model.family._planner._network  # type: ignore[attr-defined]
    engine.close()


@pytest.fixture(scope="module")
def plan(bundle: Bundle, front_end: FrontEnd, durations: Durations) -> Plan:
    def planned(pieces: Sequence[str], *, speed: float = SLOWEST, max_steps: int = bundle.adapter.max_steps) -> Planned:
        """Every step that a text is given, without the speech model. Text comes when nothing else is left to do."""
        short = replace(bundle, adapter=replace(bundle.adapter, max_steps=max_steps))
        family = PointerFamily(short, None, front_end=front_end, durations=durations)  # type: ignore[arg-type]
        script = family.open(Submit(request_id="", voice="rms", seed=0, options=options(speed=speed)))
        rows, lengths, steps, todo = list[list[int]](), list[int](), 0, [*pieces]
        while script.state is not ScriptState.DONE:
            if script.readable:
                script.read(64)
            elif script.state is ScriptState.READY:
                seen = len(script.peek(2))
                rows.append(list(script.row()))
                verdict, steps = script.commit(np.zeros(1, np.int64), 0.0, None), steps + 1
                assert verdict is Verdict.GOES_ON or seen == 1
                if verdict is Verdict.SEGMENT_ENDS:
                    lengths.append(steps)
                    steps = 0
            elif todo:
                script.append(todo.pop(0))
            else:
                script.end()
        return Planned(rows, lengths, script.words_until(len(rows)), script.guards)

    return planned


def by_words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")]


@pytest.mark.parametrize("text", [DIGITS, DASHES, LETTERS], ids=["digits", "dashes", "letters"])
def test_a_list_ends_at_a_word(bundle: Bundle, plan: Plan, text: str) -> None:
    fed = plan(by_words(text))
    assert len(fed.lengths) > 1
    assert max(fed.lengths) <= bundle.adapter.max_steps
    assert not fed.guards
    assert len({one.start_char for one in fed.words}) == len(text.split(" ")) - text.count("-") - text.endswith(" ")
    assert all(one.end_s > one.start_s for one in fed.words)
    assert all(one.end_s <= two.start_s for one, two in itertools.pairwise(fed.words))
    assert fed == plan([text])


def test_a_word_without_end_is_cut_and_goes_on(bundle: Bundle, plan: Plan) -> None:
    found, freely = plan([LONG_WORD]), plan([LONG_WORD], max_steps=10_000)
    assert max(found.lengths) == bundle.adapter.max_steps
    assert found.guards == {"segment_too_long"}
    assert len(found.rows) == pytest.approx(len(freely.rows), rel=0.03)
    assert [LONG_WORD[one.start_char : one.end_char] for one in found.words][-1] == "now."
    assert found == plan([*LONG_WORD])


def test_a_break_that_would_not_fit_begins_a_segment(bundle: Bundle, plan: Plan) -> None:
    found, freely = plan([BREAK]), plan([BREAK], max_steps=10_000)
    assert max(freely.lengths) > bundle.adapter.max_steps >= max(found.lengths)
    assert not found.guards
    assert [one.start_char for one in found.words] == [one.start_char for one in freely.words]
    gaps = [max(two.start_s - one.end_s for one, two in itertools.pairwise(each.words)) for each in (found, freely)]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.05)
    assert found == plan(by_words(BREAK))


@settings(max_examples=30, deadline=None)
@given(
    max_steps=st.integers(3, 80),
    words=st.lists(
        st.sampled_from(["I", "a,", "internationalisation", "1,234", "the", "Yes.", "555-867-5309"]), min_size=3
    ),
    speed=st.sampled_from([0.75, 1.0, 1.33]),
)
def test_no_limit_loses_a_word(plan: Plan, max_steps: int, words: list[str], speed: float) -> None:
    text = " ".join(words)
    found, freely = plan([text], speed=speed, max_steps=max_steps), plan([text], speed=speed, max_steps=10_000)
    assert max(found.lengths) <= max_steps
    assert list(dict.fromkeys(one.start_char for one in found.words)) == list(
        dict.fromkeys(one.start_char for one in freely.words)
    )
    assert found == plan(by_words(text), speed=speed, max_steps=max_steps)
    assert found == plan([*text], speed=speed, max_steps=max_steps)


@pytest.mark.parametrize("known_at", range(6))
def test_a_token_ends_at_the_pause_before_a_cut(bundle: Bundle, known_at: int) -> None:
    """However late the cut is known, behind the first part of a token that is read with a pause inside."""
    part = Phone(phone_id("ax", stressed=False, word_start=True), "ax", 0, 0, 8, None)
    segmenter, clock = Segmenter(1.0), WordClock(bundle)
    (segment,) = segmenter.feed([part, pause(PauseType.PLAIN, 8), part])
    segment.ends = [2, 9, 24, 30]
    for step in range(6):
        if step == known_at:
            rest = segmenter.cut(segment, 6, 3)
        clock.step_made(segment, step + 1)
    clock.segment_ends(segment)
    assert rest is not None
    assert rest.phones[1:] == [part]
    assert clock.until(6) == (WordTime(start_char=0, end_char=8, start_s=0.02, end_s=0.09),)


def test_a_limit_below_the_opening_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="max_steps 1 must exceed the 3 hops"):
        replace(bundle, adapter=replace(bundle.adapter, max_steps=1))


def test_audio_is_the_same_however_text_came(bundle: Bundle, front_end: FrontEnd) -> None:
    short = replace(bundle, adapter=replace(bundle.adapter, max_steps=40))
    engine: Engine = load_engine(short, EngineConfig(slots=2, workers=False), front_end=front_end)
    expected = whole(engine, TEXT)
    engine.submit(submit(engine, "fed"))
    events: list[Event] = []
    for word in by_words(TEXT):
        engine.submit(Append(request_id="fed", text=word))
        events += settle(engine)
    engine.submit(EndText(request_id="fed"))
    events += settle(engine)
    (finished,) = [event for event in events if isinstance(event, Finished)]
    assert finished.timings.segments > 3
    assert pcm_of(events, "fed") == expected
    engine.check_integrity()
    engine.close()
