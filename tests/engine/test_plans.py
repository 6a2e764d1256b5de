"""Plans of several calls of the LM: what may happen between two of them, and when the LM makes none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.messages import Append, Cancel, Chunk, EndText, StandBack, Submit
from engines.runtime.base import FloatArray
from engines.scheduling.policy import NO_AUDIO, SATED_CODES, Marks, first_chunk
from engines.sequence import Sequence
from engines.speculation import Speculation
from engines.text import FrontEnd
from engines.vocoding import VocoderRow
from tests.engine.driving import pcm_of, settle
from tests.engine.simulator import LONG, PLAIN, SHORT, Simulator
from tests.engine.test_laws import TEXT
from tests.engine.test_vocoding import HeldVocoder
from tests.engine.toys import FakeClock, ToyDurations, ToyLm

_WITHIN_S = 20.0
MARKS = Marks.of(0.04)
FIRST_CODES = first_chunk(crowded=False) + 1  # of a stream's first chunk, that of the opening pause included
SPEAKING = ((4, 8), (13, 17), (22, 26))  # ranges of slots whose streams speak; those between them have no text


def lead_s(simulator: Simulator, sequence: Sequence) -> float:
    return sequence.lead_s(simulator.clock.now_s, sequence.vocoded)


def speaking(slot: int) -> bool:
    return any(first <= slot < last for first, last in SPEAKING)


def in_the_middle(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Fills the simulator, where slot 0 may be taken, and brings it to where one call of a plan of three has been made.
    Returns the ranges called from then on."""
    for slot in range(len(simulator.listeners), SPEAKING[-1][1]):
        simulator.ask(f"s{slot}", LONG if speaking(slot) else "", end=False)
    simulator.run(1)
    ranges: list[tuple[int, int]] = []
    step = simulator.lm.step

    def watched(first: int, last: int) -> FloatArray:
        ranges.append((first, last))
        return step(first, last)

    monkeypatch.setattr(simulator.lm, "step", watched)
    while len(simulator.engine._lm_turn._plan) != 2:
        simulator.step()
    ranges.clear()
    planned = [sequence.slot for _, call in simulator.engine._lm_turn._plan for sequence in call]
    assert len(planned) == 8
    assert min(lead_s(simulator, simulator.engine._sequences[f"s{slot}"]) for slot in planned) > MARKS.urgent_s
    return ranges


def six_speak(bundle: Bundle, front_end: FrontEnd, drafts: DraftMode) -> Engine:
    """The shipped networks, with six streams that have some codes and much to say."""
    engine = Engine(bundle, EngineConfig(workers=False, drafts=drafts), front_end=front_end)
    for name in "abcdef":
        engine.submit(Submit(request_id=name, voice=bundle.voices[0].id, seed=1))
        engine.submit(Append(request_id=name, text=9 * TEXT))
    engine.attend()
    while min(len(one.codes) for one in engine._sequences.values()) < 20:
        engine.step()
    return engine


def ask(engine: Engine, name: str) -> None:
    engine.submit(Submit(request_id=name, voice=engine.bundle.voices[0].id, seed=1))
    engine.submit(Append(request_id=name, text=TEXT))
    engine.submit(EndText(request_id=name))


def test_a_plan_is_made_call_by_call(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(bundle)
    ranges = in_the_middle(simulator, monkeypatch)
    for calls in (1, 2, 3):
        simulator.step()
        assert len(ranges) == len(set(ranges)) == calls
    assert set(ranges) == set(SPEAKING), "the next plan begins with those that have waited longest"


def test_a_newcomer_is_served_at_the_next_call_and_the_rest_of_the_plan_is_dropped(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = Simulator(bundle)
    ranges = in_the_middle(simulator, monkeypatch)
    simulator.ask("new", SHORT)
    simulator.step()
    assert ranges == [(26, 27)] * FIRST_CODES, "all of its first chunk, and nobody else"
    assert not simulator.engine._lm_turn._plan
    assert len(simulator.engine._sequences["new"].codes) == FIRST_CODES
    simulator.run(0.5)
    assert simulator.ttfa_s("new") < 0.01
    assert all(one.underruns == 0 for one in simulator.listeners.values())


def test_text_for_a_stream_that_has_run_dry_drops_the_plan_too(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(bundle)
    simulator.ask("fed", "It goes on, ", end=False)
    simulator.run(3)
    assert simulator.listeners["fed"].waiting
    ranges = in_the_middle(simulator, monkeypatch)
    simulator.engine.submit(Append(request_id="fed", text="and then on and on again. "))
    simulator.step()
    assert ranges == [(0, 1)]
    assert not simulator.engine._lm_turn._plan


def test_a_newcomer_that_waited_for_a_slot_drops_the_plan_when_it_gets_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EngineConfig(slots=SPEAKING[-1][1], workers=False, drafts=DraftMode.OFF, sheds=False)
    simulator = Simulator(bundle, config=config)
    ranges = in_the_middle(simulator, monkeypatch)
    gone = simulator.engine._sequences["s0"]
    gone.in_vocoder = True
    simulator.engine.submit(Cancel(request_id="s0"))
    simulator.ask("new", SHORT)
    simulator.engine.attend()
    assert len(simulator.engine._lm_turn._plan) == 2, "it can do nothing yet"
    gone.in_vocoder = False
    simulator.engine._release(gone)
    simulator.engine.attend()
    simulator.engine.advance()
    assert ranges == [(0, 1)] * FIRST_CODES
    assert len(simulator.engine._sequences["new"].codes) == FIRST_CODES


@pytest.mark.parametrize("place", [0, 1])
def test_a_plan_does_not_step_who_got_the_slot_of_another(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Cancelled in the middle of a plan, at the edge of a range and inside it."""
    simulator = Simulator(bundle)
    ranges = in_the_middle(simulator, monkeypatch)
    gone, *others = (planned := simulator.engine._lm_turn._plan[0][1])[place:] + planned[:place]
    first, last = min(one.slot for one in planned), max(one.slot for one in planned) + 1
    made = [len(one.codes) for one in (gone, *others)]
    simulator.listeners["heir"] = simulator.listeners[gone.request.request_id]
    simulator.engine.submit(Cancel(request_id=gone.request.request_id))
    simulator.engine.submit(Submit(request_id="heir", voice=bundle.voices[0].id, seed=1))
    simulator.engine.submit(StandBack(request_id="heir"))  # so that the plan is not dropped for it
    simulator.engine.submit(Append(request_id="heir", text=SHORT))
    simulator.engine.submit(EndText(request_id="heir"))
    simulator.step()
    heir = simulator.engine._sequences["heir"]
    assert (heir.slot, heir.ready, heir.codes) == (gone.slot, True, [])
    assert ranges == [(first + 1 if place == 0 else first, last)]
    assert [len(one.codes) for one in (gone, *others)] == [made[0], *(count + 1 for count in made[1:])]
    simulator.run(1)
    assert heir.codes[:20] == [7 * step % bundle.codes.count for step in range(20)], "from the beginning of its cache"


def test_nobody_is_asked_again_in_the_middle_of_a_plan_when_nothing_came(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = Simulator(bundle)
    in_the_middle(simulator, monkeypatch)
    while simulator.engine.attend():
        pass  # what was due at the vocoder

    def asked(*_: object) -> None:
        raise AssertionError("a look at all sequences")

    for part, name in ((simulator.engine._lm_turn, "_rows"), (simulator.engine._vocoder_turn, "_due")):
        monkeypatch.setattr(part, name, asked)
    assert simulator.engine.has_work
    simulator.engine.attend()
    monkeypatch.undo()
    assert len(simulator.engine._lm_turn._plan) == 2


def test_several_newcomers_get_their_first_chunks_in_one_call(bundle: Bundle) -> None:
    """Of five the four oldest, the fifth in the next."""
    simulator = Simulator(bundle)
    for index in range(3):
        simulator.ask(f"s{index}", LONG)
    simulator.run(0.2)
    names = [f"new{index}" for index in range(5)]
    for name in names:
        simulator.ask(name, SHORT)
    simulator.step()
    made = [len(simulator.engine._sequences[name].codes) for name in names]
    assert made == [FIRST_CODES] * 4 + [0]
    simulator.step()
    assert len(simulator.engine._sequences["new4"].codes) == FIRST_CODES
    simulator.run(0.5)
    assert all(one.underruns == 0 for one in simulator.listeners.values())


@pytest.mark.parametrize("drafts", [DraftMode.AUTO, DraftMode.ON])
def test_a_newcomer_gets_its_whole_first_chunk_in_one_round(
    bundle: Bundle, front_end: FrontEnd, drafts: DraftMode
) -> None:
    """Where drafts are thought of, too: a round between two of its codes would cost more than a code."""
    engine = six_speak(bundle, front_end, drafts)
    ask(engine, "new")
    engine.attend()
    engine.advance()
    assert len(engine._sequences["new"].codes) >= FIRST_CODES
    engine.close()


def test_a_newcomer_is_dispatched_before_the_next_one_is_hurried(
    bundle: Bundle, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, str]] = []
    run, take = Speculation.run, VocoderRow.take

    def drafted(self: Speculation, sequence: Sequence, commit: Callable[..., bool]) -> bool:
        done = run(self, sequence, commit)
        if done:
            log.append(("drafted", sequence.request.request_id))
        return done

    def taken(sequence: Sequence, count: int) -> VocoderRow:
        log.append(("vocoder", sequence.request.request_id))
        return take(sequence, count)

    engine = six_speak(bundle, front_end, DraftMode.AUTO)
    monkeypatch.setattr(Speculation, "run", drafted)
    monkeypatch.setattr(VocoderRow, "take", taken)
    names = ["new0", "new1"]
    for name in names:
        ask(engine, name)
    while not {("vocoder", name) for name in names} <= set(log):
        engine.step()
    firsts = [log.index((what, name)) for name in ("new0", "new1") for what in ("drafted", "vocoder")]
    assert firsts == sorted(firsts), log
    engine.close()


def test_nobody_who_has_time_goes_with_a_newcomer_to_the_vocoder(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = Simulator(bundle)
    for name in "abcde":
        simulator.ask(name, LONG)
    simulator.engine.attend()
    turn, sequences = simulator.engine._vocoder_turn, list(simulator.engine._sequences.values())

    def job(*leads_s: float) -> tuple[int, bool, float | None]:
        """Of as many sequences with two codes due: how many go, whether they are urgent, and who is left."""
        due = [((lead_s, float(at)), 2, one) for at, (lead_s, one) in enumerate(zip(leads_s, sequences))]
        monkeypatch.setattr(turn, "_due", lambda *_: list(due))
        turn.changed()
        found = turn.next_job(sequences, simulator.clock.now_s)
        assert found is not None
        assert found.sequences == sequences[: len(found.sequences)]
        return len(found.sequences), found.urgent, found.next_lead_s

    assert job(NO_AUDIO, 0.2, 0.25, 9.0) == (1, True, 0.2)
    assert job(NO_AUDIO, NO_AUDIO, 0.9 * MARKS.urgent_s, 0.2, 0.25) == (3, True, 0.2)
    assert job(0.2, 0.25, 9.0) == (3, False, None)


def test_a_newcomer_with_its_first_chunk_made_holds_nobody_up(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(bundle, replace(PLAIN, step_s=(0.3e-3, 0.5e-3)))
    for index in range(6):
        simulator.ask(f"s{index}", LONG)
    simulator.run(0.2)
    others = list(simulator.engine._sequences.values())
    leads_s = [lead_s(simulator, one) for one in others]
    assert MARKS.urgent_s < min(leads_s) <= max(leads_s) < MARKS.lead_cap_s
    monkeypatch.setattr(simulator.engine._vocoding, "room", lambda *, urgent: False)  # busy for long
    simulator.ask("new", LONG)
    simulator.engine.attend()
    new, before = simulator.engine._sequences["new"], [len(one.codes) for one in others]
    while len(new.codes) < FIRST_CODES:
        simulator.step()
        assert len(new.codes) <= FIRST_CODES
    assert [len(one.codes) for one in others] == before, "until then it is before all others"
    for _ in range(4):
        simulator.step()
    assert new.first_chunk_s is None
    assert all(len(one.codes) > count for one, count in zip(others, before, strict=True))


def test_a_sated_row_between_others_is_not_stepped_with_them(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    for index in range(3):
        simulator.ask(f"s{index}", LONG)
    simulator.run(0.1)
    left, sated, right = simulator.engine._sequences.values()
    sated.in_vocoder = True  # for long
    while sated.pending < SATED_CODES:
        simulator.step()
    before = [len(one.codes) for one in (left, sated, right)]
    simulator.engine._lm_turn._plan.clear()
    simulator.step()
    assert [len(one.codes) for one in (left, sated, right)] == [before[0] + 1, before[1], before[2] + 1]


@pytest.mark.parametrize("drafts", [DraftMode.OFF, DraftMode.ON])
def test_the_lm_rests_when_the_vocoder_does_not_take_its_codes(
    bundle: Bundle, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch, drafts: DraftMode
) -> None:
    """And says the same in the end."""
    names = ("a", "b")

    def ask(engine: Engine) -> None:
        for name in names:
            engine.submit(Submit(request_id=name, voice=bundle.voices[0].id, seed=1))
            engine.submit(Append(request_id=name, text=4 * TEXT))
            engine.submit(EndText(request_id=name))

    engine = Engine(bundle, EngineConfig(slots=2, workers=False, drafts=drafts), front_end=front_end)
    ask(engine)
    events = settle(engine)
    expected = [pcm_of(events, name) for name in names]
    ask(engine)
    with monkeypatch.context() as busy:
        busy.setattr(engine._vocoding, "room", lambda *, urgent: False)
        assert not any(isinstance(event, Chunk) for event in settle(engine))
    sequences = list(engine._sequences.values())
    made = [len(one.codes) for one in sequences]
    assert SATED_CODES <= min(made) <= max(made) <= SATED_CODES + (4 if drafts is DraftMode.ON else 0)
    engine._vocoder_turn.changed()  # as by the job that kept it busy
    events = [event for _ in range(4) for event in engine.step()]
    assert all(len(one.codes) > count for one, count in zip(sequences, made, strict=True))
    events += settle(engine)
    assert [pcm_of(events, name) for name in names] == expected
    engine.close()


@pytest.mark.parametrize("max_lead_s", [None, 5.0])
def test_the_loop_sleeps_while_all_are_sated_and_the_vocoder_is_busy(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, max_lead_s: float | None
) -> None:
    clock, vocoder = FakeClock(), HeldVocoder(bundle)
    lm, durations = ToyLm(bundle, 4, clock, 0.3e-3, 0.1e-3), ToyDurations(bundle)
    config = EngineConfig(slots=4, drafts=DraftMode.OFF, sheds=False)
    engine = Engine(bundle, config, clock, lm=lm, vocoder=vocoder, durations=durations)
    waits: list[float | None] = []
    wait = engine._news.wait
    monkeypatch.setattr(engine._news, "wait", lambda limit_s, *files: waits.append(limit_s))
    try:
        for name in "abcd":
            engine.submit(Submit(request_id=name, voice=bundle.voices[0].id, seed=1, max_lead_s=max_lead_s))
            engine.submit(Append(request_id=name, text=LONG))
        while engine.has_work:
            engine.step()
        sequences, calls = list(engine._sequences.values()), len(lm.calls)
        assert [one.pending for one in sequences] == 4 * [SATED_CODES]
        assert not engine._vocoding.idle
        engine.wait(7.0)
        engine.wait(None)
        assert waits == [7.0, None]
        engine.step()
        assert len(lm.calls) == calls
        monkeypatch.setattr(engine._news, "wait", wait)
        vocoder.go.release(1)
        while not engine._vocoding.has_finished:
            engine.wait(_WITHIN_S)
        while engine.has_work:
            engine.step()
        assert len(lm.calls) > calls
        assert all(one.pending == SATED_CODES for one in sequences)
        vocoder.go.release(100_000)
        for name in "abcd":
            engine.submit(Cancel(request_id=name))
        while engine.stats().running or engine._sequences:
            engine.step()
            if not engine.has_work:
                engine.wait(_WITHIN_S)
        engine.check_integrity()
    finally:
        vocoder.go.release(100_000)
        engine.close()
