"""What becomes of a stream: pauses and ends of its text, refusals, faults and word times, of every family."""

from __future__ import annotations

from typing import Any

import pytest

from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.overlap_add import RATES_HZ
from engines.messages import (
    Append,
    Cancel,
    Chunk,
    EndText,
    Failed,
    Finished,
    Flush,
    LeadingSilence,
    Started,
    Submit,
    WaitingForText,
    options,
)
from engines.runtime.base import IntArray
from engines.synth import speak
from tests.engine.driving import OTHERS, TEXT, Make, pcm_of, settle, submit, whole


def test_a_row_that_the_model_fails_with_ends_alone(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make()
    expected = [whole(engine, text, seed) for seed, text in enumerate(OTHERS)]
    talker = engine.model.talker
    step = talker.step

    def fails_with_slot_1(slots: IntArray, *rest: Any) -> Any:
        if 1 in slots and engine.counters.frames > before + 20:
            raise RuntimeError("index out of range")
        return step(slots, *rest)

    before = engine.counters.frames
    monkeypatch.setattr(talker, "step", fails_with_slot_1)
    for seed, text in enumerate(OTHERS):
        engine.submit(submit(engine, str(seed), seed))
        engine.submit(Append(request_id=str(seed), text=text))
        engine.submit(EndText(request_id=str(seed)))
    events = settle(engine)
    failed = [event.request_id for event in events if isinstance(event, Failed)]
    assert len(failed) == 1
    for seed in range(len(OTHERS)):
        if str(seed) not in failed:
            assert pcm_of(events, str(seed)) == expected[seed]
    engine.check_integrity()
    engine.close()


@pytest.mark.parametrize("part", ["open", "begin"])
def test_a_stream_that_cannot_begin_ends_alone(make: Make, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    engine = make()
    expected = whole(engine, OTHERS[0])
    engine.submit(submit(engine, "good"))
    engine.submit(Append(request_id="good", text=OTHERS[0]))
    engine.submit(EndText(request_id="good"))
    events = [event for _ in range(3) for event in engine.step()]
    owner: Any = engine.model.family if part == "open" else engine.model.talker
    works = getattr(owner, part)

    def fails_once(*given: Any) -> Any:
        monkeypatch.setattr(owner, part, works)
        raise RuntimeError("as told")

    monkeypatch.setattr(owner, part, fails_once)
    engine.submit(submit(engine, "bad", 1))
    engine.submit(Append(request_id="bad", text=OTHERS[1]))
    engine.submit(EndText(request_id="bad"))
    while not any(isinstance(event, Failed) for event in events):
        events += engine.step()
    events += settle(engine)
    assert [(event.request_id, event.code) for event in events if isinstance(event, Failed)] == [
        ("bad", "engine_fault")
    ]
    assert pcm_of(events, "good") == expected
    engine.close()


def test_every_frame_gives_its_samples(shipped: Engine, bundle: Bundle) -> None:
    for rate_hz in RATES_HZ:
        spoken = speak(shipped, "Good day.", sample_rate_hz=rate_hz, leading_silence=LeadingSilence.KEEP)
        silence = bundle.durations.closing_hops * rate_hz // 100
        assert len(spoken.pcm) // 2 == spoken.timings.lm_steps * rate_hz // 25 + silence
        assert not any(spoken.pcm[-2 * silence :])


def test_flush_speaks_without_an_end(engine: Engine) -> None:
    engine.submit(submit(engine, "f"))
    engine.submit(Append(request_id="f", text="Hello there my friend"))
    settle(engine)
    engine.submit(Flush(request_id="f"))
    spoken = len(pcm_of(settle(engine), "f"))
    assert spoken > 0
    engine.submit(Append(request_id="f", text=" and more"))
    engine.submit(EndText(request_id="f"))
    events = settle(engine)
    assert any(isinstance(event, Finished) for event in events)


def test_a_pause_in_the_text_is_told_and_is_no_end(engine: Engine) -> None:
    expected = whole(engine)
    engine.submit(submit(engine, "p"))
    engine.submit(Append(request_id="p", text=TEXT[:40]))
    events = settle(engine)
    assert [type(event) for event in events if not isinstance(event, Chunk)] == [Started, WaitingForText]
    assert expected.startswith(pcm_of(events, "p"))
    engine.submit(Append(request_id="p", text=TEXT[40:]))
    engine.submit(EndText(request_id="p"))
    events += settle(engine)
    assert pcm_of(events, "p") == expected


def test_what_comes_behind_the_end_is_not_spoken(engine: Engine) -> None:
    """Sent at once, and while the text is still spoken; such an utterance once ran dry and never ended."""
    expected = whole(engine, OTHERS[0])
    for steps in (0, 3):
        engine.submit(submit(engine, "late"))
        engine.submit(Append(request_id="late", text=OTHERS[0]))
        engine.submit(EndText(request_id="late"))
        events = [event for _ in range(steps) for event in engine.step()]
        for command in (Append(request_id="late", text="And on"), Flush(request_id="late"), EndText(request_id="late")):
            engine.submit(command)
        engine.submit(Append(request_id="late", text=OTHERS[3]))
        events += settle(engine)
        assert pcm_of(events, "late") == expected
        assert engine.empty


def test_refusals_name_the_value(shipped: Engine) -> None:
    cases = {
        "voice": Submit(request_id="voice", voice="missing", seed=0),
        "speed": Submit(request_id="speed", voice=shipped.spec.voices[0].id, seed=0, options=options(speed=9.0)),
        "rate": Submit(request_id="rate", voice=shipped.spec.voices[0].id, seed=0, sample_rate_hz=12_345),
    }
    wanted = {"voice": "missing", "speed": "9.0", "rate": "12345"}
    for name, command in cases.items():
        shipped.submit(command)
        failed = [event for event in settle(shipped) if isinstance(event, Failed)]
        assert [event.request_id for event in failed] == [name]
        assert wanted[name] in failed[0].message


def test_a_full_engine_refuses_at_once(make: Make) -> None:
    engine = make(slots=1)
    engine.submit(submit(engine, "first"))
    engine.submit(submit(engine, "second"))
    failed = [event for event in engine.step() if isinstance(event, Failed)]
    assert [(event.request_id, event.code) for event in failed] == [("second", "overloaded")]
    assert failed[0].retry_after_s
    engine.submit(Cancel(request_id="first"))
    engine.step()
    engine.submit(submit(engine, "third"))
    assert not [event for event in engine.step() if isinstance(event, Failed)]
    engine.close()


def test_word_times_rise_and_point_into_the_text(engine: Engine) -> None:
    spoken = speak(engine, TEXT)
    assert [TEXT[word.start_char : word.end_char] for word in spoken.words] == TEXT.split()
    starts = [word.start_s for word in spoken.words]
    assert starts == sorted(starts)
    assert all(word.start_s <= word.end_s <= spoken.timings.audio_s for word in spoken.words)


def test_a_flush_of_nothing_that_can_be_spoken_is_told(shipped: Engine) -> None:
    """The client waits for it: what it flushed is over."""
    shipped.submit(submit(shipped, "f"))
    shipped.submit(Append(request_id="f", text="Hello there. "))
    shipped.submit(Flush(request_id="f"))
    told = [event.heard for event in settle(shipped) if isinstance(event, WaitingForText)]
    assert told == [2]
    for heard, text in ((4, " "), (6, "😀 "), (8, "...")):
        shipped.submit(Append(request_id="f", text=text))
        shipped.submit(Flush(request_id="f"))
        told = [event.heard for event in settle(shipped) if isinstance(event, WaitingForText)]
        assert told == [heard]
    shipped.submit(Cancel(request_id="f"))
    settle(shipped)
    shipped.submit(submit(shipped, "first"))
    shipped.submit(Append(request_id="first", text="😀"))
    assert [one for one in settle(shipped) if isinstance(one, WaitingForText)] == []
    shipped.submit(Flush(request_id="first"))
    assert [event.heard for event in settle(shipped) if isinstance(event, WaitingForText)] == [2]
    shipped.submit(Cancel(request_id="first"))
    settle(shipped)
