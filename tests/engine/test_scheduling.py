"""Who runs when, and which requests are admitted: the real engine on toy networks whose cost is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.config import DraftMode, EngineConfig
from engines.families.base import ScriptState
from engines.families.phone_pointer.bundle import Bundle
from engines.messages import Append, EndText, Failed, Finished, Flush, SetPaused, StandBack, Submit
from engines.runtime.base import IntArray
from tests.engine.simulator import LONG, SHORT, Machine, Simulator

CROWDED = Machine(step_s=(0.3e-3, 0.28e-3), job_s=(0.3e-3, 0.12e-3), read_s=0)  # by 50 streams: a third of a frame
UNGUARDED = EngineConfig(slots=64, workers=False, drafts=DraftMode.OFF, sheds=False)


def fed(bundle: Bundle, *, others: int, gap_s: float) -> tuple[Simulator, int]:
    """A stream that gets its text word by word beside others, up to the second word after the one that gave its first
    code alone. Returns that word's place too."""
    words = "So a man is in a boat on the sea by now".split()
    simulator = Simulator(bundle, phone_codes=1)
    for index in range(others):
        simulator.ask(f"other{index}", LONG)
    simulator.run(0.5)
    simulator.ask("fed", "", end=False)
    first = None
    for place, word in enumerate(words):
        simulator.engine.submit(Append(request_id="fed", text=word + " "))
        simulator.run(gap_s)
        if first is None and simulator.engine.sequences["fed"].made:
            first = place
        if first is not None and place == first + 1:
            return simulator, first
    raise AssertionError("no word gave a first code")


@pytest.mark.parametrize("others", [0, 6])
def test_a_first_code_alone_waits_for_words_that_come_fast(bundle: Bundle, others: int) -> None:
    """Its few milliseconds would be played before the next words' codes can be there."""
    code_bytes = round(2 * 24_000 * bundle.code_s)
    slow, _ = fed(bundle, others=others, gap_s=0.4)
    assert slow.listeners["fed"].first_bytes < code_bytes, "this text must give a first code alone"
    fast, _ = fed(bundle, others=others, gap_s=0.01)
    assert fast.listeners["fed"].first_bytes > code_bytes
    assert fast.listeners["fed"].underruns == 0


def test_a_first_code_alone_waits_no_longer_than_that(bundle: Bundle) -> None:
    crowded, first = fed(bundle, others=6, gap_s=0.4)
    assert crowded.ttfa_s("fed") < 0.4 * first + 0.055


@pytest.mark.parametrize(("others", "codes"), [(0, 2), (6, 2), (50, 4)])
def test_after_a_wait_for_text_a_stream_begins_anew(bundle: Bundle, others: int, codes: int) -> None:
    """Its listener has as little in hand as at the start, and as many streams run."""
    simulator = Simulator(bundle, CROWDED, UNGUARDED)
    for index in range(others):
        simulator.ask(f"other{index}", LONG)
    simulator.run(0.5)
    simulator.ask("fed", "It goes on, ", end=False)
    simulator.run(2)
    assert simulator.listeners["fed"].waiting
    for index in range(others):
        simulator.ask(f"more{index}", LONG)
    simulator.engine.submit(Append(request_id="fed", text="and then on and on again. "))
    simulator.run(1)
    assert simulator.listeners["fed"].resumed_bytes == [round(2 * 24_000 * codes * bundle.code_s)]


@pytest.mark.parametrize("in_hand_s", [0.03, 0.06])
def test_a_stream_nearly_dry_when_text_comes_gets_a_chunk_of_first_size(bundle: Bundle, in_hand_s: float) -> None:
    """Words that come a moment before their listener is dry: one code would be played before the next is there."""
    simulator = Simulator(bundle, CROWDED, UNGUARDED)
    for index in range(50):
        simulator.ask(f"other{index}", LONG)
    simulator.run(0.5)
    simulator.ask("fed", "It goes on and on and on, ", end=False)
    listener = simulator.listeners["fed"]
    while not listener.waiting or listener.dry_s - simulator.clock.now_s > in_hand_s:
        simulator.step()
    fed = simulator.engine.sequences["fed"]
    simulator.engine.submit(Append(request_id="fed", text="and then on and on again. "))
    before = fed.samples
    while fed.samples == before:
        simulator.step()
    assert listener.underruns == 0
    assert fed.samples - before == round(24_000 * 4 * bundle.code_s)
    assert simulator.listeners["fed"].underruns == 0


def test_a_burst_of_fifty_starts_at_once_and_none_underruns(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    for index in range(50):
        simulator.ask(f"s{index}", SHORT)
    simulator.run(30)
    assert len(simulator.admitted()) == 50
    assert all(isinstance(one.end, Finished) for one in simulator.listeners.values())
    assert sum(one.underruns for one in simulator.listeners.values()) == 0
    assert max(simulator.ttfa_s(name) for name in simulator.listeners) < 0.12


def test_a_new_stream_does_not_wait_for_streams_with_lead(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    for index in range(40):
        simulator.ask(f"long{index}", LONG)
    simulator.run(3)
    simulator.ask("new", SHORT)
    simulator.run(0.5)
    # The call and the job under way, two of its own of each, and room for one more.
    assert simulator.ttfa_s("new") < 0.5 * bundle.code_s + 0.019


def test_one_very_long_text_delays_no_other_stream(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    simulator.ask("book", LONG * 20)
    for index in range(20):
        simulator.run(0.2)
        simulator.ask(f"s{index}", SHORT)
    simulator.run(5)
    assert max(simulator.ttfa_s(f"s{index}") for index in range(20)) < 0.05
    assert all(one.underruns == 0 for one in simulator.listeners.values())


def test_no_stream_starves_where_the_machine_is_slow_but_fast_enough(bundle: Bundle) -> None:
    """Twelve streams on a machine that can just keep them: each gets its share to the end."""
    simulator = Simulator(bundle, Machine(step_s=(0.5e-3, 1.2e-3), job_s=(0.5e-3, 0.9e-3), read_s=0))
    for index in range(12):
        simulator.ask(f"s{index}", LONG)
        simulator.run(0.05)
    simulator.run(60)
    admitted = simulator.admitted()
    assert len(admitted) >= 6
    assert sum(simulator.listeners[name].underruns for name in admitted) == 0
    leads = [simulator.listeners[name].dry_s - simulator.clock.now_s for name in admitted]
    assert min(leads) > 0


def test_who_cannot_be_served_is_refused_and_who_was_admitted_keeps_its_lead(bundle: Bundle) -> None:
    simulator = Simulator(bundle, Machine(step_s=(0.5e-3, 1.2e-3), job_s=(0.5e-3, 0.9e-3), read_s=0))
    for index in range(100):
        simulator.ask(f"s{index}", LONG)
        simulator.run(0.1)
    refused = [one.end for one in simulator.listeners.values() if isinstance(one.end, Failed)]
    admitted = simulator.admitted()
    assert refused
    assert all(isinstance(end, Failed) and end.code == "overloaded" and end.retry_after_s for end in refused)
    assert 6 <= len(admitted) <= 20
    late = sum(simulator.listeners[name].underruns for name in admitted)
    assert late <= 2, "the first chunks may teach the model; after that nobody runs dry"


def test_no_audio_that_is_ready_waits_for_the_lm(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator, rows = Simulator(bundle), list[int]()
    run = simulator.vocoder.run

    def counted(slots: IntArray, *job: Any) -> Any:
        rows.append(len(slots))
        return run(slots, *job)

    def delivered() -> None:
        assert simulator.stats.counters["vocoder_rows"] == sum(rows)

    monkeypatch.setattr(simulator.vocoder, "run", counted)
    simulator.lm.before_call = delivered
    for index in range(20):
        simulator.ask(f"s{index}", SHORT)
        simulator.run(0.05)
    simulator.run(10)
    assert sum(rows) > 100
    assert all(isinstance(one.end, Finished) for one in simulator.listeners.values())


def test_a_text_is_read_no_further_than_its_speech_needs(bundle: Bundle) -> None:
    family = Simulator(bundle).engine.model.family
    script = family.open(Submit(request_id="book", voice=bundle.voices[0].id, seed=1))
    script.append(20 * LONG)
    assert script.read(64) == 64
    assert script.state is ScriptState.READY, "one slice, so that its first frame need not wait"
    chars = 64
    for _ in range(2):
        while script.readable:
            chars += script.read(64)
        assert chars < 1_000
        frame, before = np.zeros(1, np.int64), chars
        while not script.readable:
            script.commit(frame, 0.0, None)
            assert script.state is ScriptState.READY
        assert chars == before


def test_durations_that_fail_are_heard_by_one_stream(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = Simulator(bundle)
    for name in ("one", "two"):
        simulator.ask(name, LONG)
    simulator.run(0.2)
    plan, failures = simulator.durations.plan, iter([True])

    def failing() -> IntArray:
        if next(failures, False):
            raise RuntimeError("no memory")
        return plan()

    monkeypatch.setattr(simulator.durations, "plan", failing)
    simulator.run(60)
    failed, sound = sorted((one.end for one in simulator.listeners.values()), key=lambda end: isinstance(end, Finished))
    assert isinstance(failed, Failed)
    assert (failed.code, "no memory" in failed.message) == ("engine_fault", True)
    assert isinstance(sound, Finished)
    simulator.engine.check_integrity()


def test_a_slow_reader_is_paused_and_others_are_untouched(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    simulator.ask("slow", LONG)
    simulator.run(0.2)
    simulator.engine.submit(SetPaused(request_id="slow", paused=True))
    simulator.run(0.1)
    before = simulator.listeners["slow"].dry_s
    simulator.ask("other", SHORT)
    simulator.run(5)
    assert simulator.listeners["slow"].dry_s == before
    assert isinstance(simulator.listeners["other"].end, Finished)
    simulator.engine.submit(SetPaused(request_id="slow", paused=False))
    simulator.run(60)
    assert simulator.engine.stats().counters["late_chunks"] == 0, "who paused himself was not served late"


def test_text_slower_than_speech_is_a_pause_and_not_an_end(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    simulator.ask("slow", "", end=False)
    for _ in range(8):
        simulator.engine.submit(Append(request_id="slow", text="Another few words came along here today. "))
        simulator.engine.submit(Flush(request_id="slow"))
        simulator.run(8)
        assert simulator.listeners["slow"].waiting
        assert simulator.listeners["slow"].end is None
    simulator.engine.submit(EndText(request_id="slow"))
    simulator.run(1)
    assert isinstance(simulator.listeners["slow"].end, Finished)
    assert simulator.listeners["slow"].underruns == 0
    assert simulator.engine.stats().counters["late_chunks"] == 0


def test_who_stands_back_speaks_behind_all_others_and_to_the_end(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    simulator.ask("closing", SHORT)
    simulator.engine.submit(StandBack(request_id="closing"))
    for index in range(30):
        simulator.ask(f"s{index}", SHORT)
    simulator.run(30)
    assert simulator.ttfa_s("closing") > max(simulator.ttfa_s(f"s{index}") for index in range(30))
    assert all(isinstance(one.end, Finished) for one in simulator.listeners.values())


def test_who_stands_back_alone_is_not_held_up(bundle: Bundle) -> None:
    simulator = Simulator(bundle)
    simulator.ask("closing", LONG)
    simulator.engine.submit(StandBack(request_id="closing"))
    simulator.run(3)
    assert simulator.ttfa_s("closing") < 0.05
    assert simulator.listeners["closing"].underruns == 0
