"""Who runs when, and who may come in: the real engine on toy networks whose cost is known, under a fake clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig
from engines.loop import Engine
from engines.messages import (
    Append,
    Chunk,
    EndText,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    StandBack,
    Started,
    Submit,
    WaitingForText,
)
from engines.runtime.base import FloatArray, IntArray
from engines.scheduler import NO_AUDIO, SATED_CODES, THRONG, Row, first_chunk, is_sated, worth_decoding
from engines.sequence import PHONES_AHEAD
from tests.engine.toys import FakeClock, ToyDurations, ToyLm, ToyVocoder

SHORT = "Please hold the line while I look."
LONG = " ".join(["It was a long road and nobody knew where it went, but we followed it all the same."] * 40)


@dataclass
class Listener:
    """Plays from the first chunk on, and knows when it ran dry."""

    asked_s: float
    first_s: float | None = None
    first_bytes: int = 0
    dry_s: float = 0.0
    underruns: int = 0
    waiting: bool = False
    resumed_bytes: list[int] = field(default_factory=list)  # of chunks after a wait for text
    end: Event | None = None


@dataclass
class House:
    """An engine, its clock and its listeners."""

    bundle: Bundle
    config: EngineConfig = field(default_factory=lambda: EngineConfig(slots=64, workers=False, drafts=DraftMode.OFF))
    lm_s: tuple[float, float] = (0.3e-3, 0.1e-3)
    vocoder_s: tuple[float, float] = (0.3e-3, 0.12e-3)
    phone_codes: int = 2

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.lm = ToyLm(self.bundle, self.config.slots, self.clock, *self.lm_s)
        vocoder = ToyVocoder(self.bundle, self.clock, *self.vocoder_s)
        self.durations = ToyDurations(self.bundle, self.phone_codes)
        self.engine = Engine(
            self.bundle, self.config, self.clock, lm=self.lm, vocoder=vocoder, durations=self.durations
        )
        self.listeners: dict[str, Listener] = {}

    def ask(self, name: str, text: str, *, end: bool = True, max_lead_s: float | None = None) -> None:
        self.listeners[name] = Listener(self.clock.now_s)
        self.engine.submit(Submit(request_id=name, voice=self.bundle.voices[0].id, seed=1, max_lead_s=max_lead_s))
        self.engine.submit(Append(request_id=name, text=text))
        if end:
            self.engine.submit(EndText(request_id=name))

    def step(self) -> None:
        for event in self.engine.step():
            listener = self.listeners[event.request_id]  # type: ignore[union-attr]
            match event:
                case Chunk(pcm=pcm):
                    now = self.clock.now_s
                    if listener.first_s is None:
                        listener.first_s = listener.dry_s = now
                        listener.first_bytes = len(pcm)
                    if listener.waiting and now > listener.dry_s:
                        listener.resumed_bytes.append(len(pcm))
                    if now > listener.dry_s:
                        listener.underruns += not listener.waiting
                        listener.dry_s = now
                    listener.waiting = False
                    listener.dry_s += len(pcm) / 2 / 24_000
                case WaitingForText():
                    listener.waiting = True
                case Started():
                    pass
                case Finished() | Failed():
                    listener.end = event
        if not self.engine.has_work:
            self.clock.now_s += 1e-3

    def run(self, seconds: float) -> None:
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            self.step()

    def ttfa_s(self, name: str) -> float:
        listener = self.listeners[name]
        assert listener.first_s is not None, f"{name} has not sounded: {listener.end}"
        return listener.first_s - listener.asked_s

    def admitted(self) -> list[str]:
        return [name for name, one in self.listeners.items() if not isinstance(one.end, Failed)]


def fed(bundle: Bundle, *, others: int, gap_s: float) -> tuple[House, int]:
    """A stream that gets its text word by word beside others, up to the second word after the one that gave its first
    code alone. Returns that word's place too."""
    words = "So a man is in a boat on the sea by now".split()
    house = House(bundle, phone_codes=1)
    for index in range(others):
        house.ask(f"other{index}", LONG)
    house.run(0.5)
    house.ask("fed", "", end=False)
    first = None
    for place, word in enumerate(words):
        house.engine.submit(Append(request_id="fed", text=word + " "))
        house.run(gap_s)
        if first is None and house.engine._sequences["fed"].codes:
            first = place
        if first is not None and place == first + 1:
            return house, first
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
    """Its listener has as little in hand as at the start, and the crowd is as large."""
    house = House(bundle)
    for index in range(others):
        house.ask(f"other{index}", LONG)
    house.run(0.5)
    house.ask("fed", "It goes on, ", end=False)
    house.run(2)
    assert house.listeners["fed"].waiting
    for index in range(others):
        house.ask(f"more{index}", LONG)
    house.engine.submit(Append(request_id="fed", text="and then on and on again. "))
    house.run(1)
    assert house.listeners["fed"].resumed_bytes == [round(2 * 24_000 * codes * bundle.code_s)]


@pytest.mark.parametrize(("in_hand_s", "codes"), [(0.03, first_chunk(THRONG)), (0.06, 1)])
def test_who_is_nearly_dry_when_text_comes_begins_anew_too(bundle: Bundle, in_hand_s: float, codes: int) -> None:
    """Words that come a moment before their listener is dry: one code would be played before the next is there."""
    house = House(bundle)
    for index in range(THRONG + 2):
        house.ask(f"other{index}", LONG)
    house.run(0.5)
    house.ask("fed", "It goes on and on and on, ", end=False)
    listener = house.listeners["fed"]
    while not listener.waiting or listener.dry_s - house.clock.now_s > in_hand_s:
        house.step()
    fed = house.engine._sequences["fed"]
    house.engine.submit(Append(request_id="fed", text="and then on and on again. "))
    before = fed.samples
    while fed.samples == before:
        house.step()
    assert listener.underruns == 0
    assert fed.samples - before == round(24_000 * codes * bundle.code_s)
    assert house.listeners["fed"].underruns == 0


def test_a_burst_of_fifty_starts_at_once_and_nobody_runs_dry(bundle: Bundle) -> None:
    house = House(bundle)
    for index in range(50):
        house.ask(f"s{index}", SHORT)
    house.run(30)
    assert len(house.admitted()) == 50
    assert all(isinstance(one.end, Finished) for one in house.listeners.values())
    assert sum(one.underruns for one in house.listeners.values()) == 0
    assert max(house.ttfa_s(name) for name in house.listeners) < 0.12


def test_a_newcomer_does_not_wait_for_those_who_work_ahead(bundle: Bundle) -> None:
    house = House(bundle)
    for index in range(40):
        house.ask(f"long{index}", LONG)
    house.run(3)
    house.ask("new", SHORT)
    house.run(0.5)
    config = house.config
    # The call and the job under way, two of its own of each, and room for one more.
    assert house.ttfa_s("new") < config.lm_slice_s + 0.019


def test_one_very_long_text_holds_nobody_up(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("book", LONG * 20)
    for index in range(20):
        house.run(0.2)
        house.ask(f"s{index}", SHORT)
    house.run(5)
    assert max(house.ttfa_s(f"s{index}") for index in range(20)) < 0.05
    assert all(one.underruns == 0 for one in house.listeners.values())


def test_nobody_starves_where_the_machine_is_slow_but_fast_enough(bundle: Bundle) -> None:
    """Twelve streams on a machine that can just keep them: each gets its share to the end."""
    house = House(bundle, lm_s=(0.5e-3, 1.2e-3), vocoder_s=(0.5e-3, 0.9e-3))
    for index in range(12):
        house.ask(f"s{index}", LONG)
        house.run(0.05)
    house.run(60)
    admitted = house.admitted()
    assert len(admitted) >= 6
    assert sum(house.listeners[name].underruns for name in admitted) == 0
    leads = [house.listeners[name].dry_s - house.clock.now_s for name in admitted]
    assert min(leads) > 0


def test_who_cannot_be_served_is_refused_and_who_was_admitted_keeps_its_lead(bundle: Bundle) -> None:
    house = House(bundle, lm_s=(0.5e-3, 1.2e-3), vocoder_s=(0.5e-3, 0.9e-3))
    for index in range(100):
        house.ask(f"s{index}", LONG)
        house.run(0.1)
    refused = [one.end for one in house.listeners.values() if isinstance(one.end, Failed)]
    admitted = house.admitted()
    assert refused
    assert all(isinstance(end, Failed) and end.code == "overloaded" and end.retry_after_s for end in refused)
    assert 6 <= len(admitted) <= 20
    late = sum(house.listeners[name].underruns for name in admitted)
    assert late <= 2, "the first chunks may teach the model; after that nobody runs dry"


def test_no_audio_that_is_ready_waits_for_the_lm(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(bundle)
    step = house.lm.step

    def watched(first: int, last: int) -> FloatArray:
        assert Chunk not in [type(event) for event in house.engine._events]
        assert not house.engine._vocoding.has_finished
        return step(first, last)

    monkeypatch.setattr(house.lm, "step", watched)
    for index in range(20):
        house.ask(f"s{index}", SHORT)
        house.run(0.05)
    house.run(10)
    assert all(isinstance(one.end, Finished) for one in house.listeners.values())


def test_a_text_is_read_no_further_than_its_speech_needs(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("book", 20 * LONG, max_lead_s=1.0)
    house.engine.attend()
    sequence = house.engine._sequences["book"]
    assert sequence.ready
    assert len(sequence.unread[0]) == len(20 * LONG) - 64, "one slice, so that its first code need not wait"  # type: ignore[arg-type]
    for _ in range(50):
        house.run(0.2)
        ahead = sum(len(one.phones) for one in sequence.segments) - sequence.place.pointer  # type: ignore[union-attr]
        assert 30 < ahead < PHONES_AHEAD + 100


def test_durations_that_fail_are_heard_by_one_stream(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(bundle)
    for name in ("one", "two"):
        house.ask(name, LONG)
    house.run(0.2)
    plan, failures = house.durations.plan, iter([True])

    def failing() -> IntArray:
        if next(failures, False):
            raise RuntimeError("no memory")
        return plan()

    monkeypatch.setattr(house.durations, "plan", failing)
    house.run(60)
    failed, sound = sorted((one.end for one in house.listeners.values()), key=lambda end: isinstance(end, Finished))
    assert isinstance(failed, Failed)
    assert (failed.code, "no memory" in failed.message) == ("engine_fault", True)
    assert isinstance(sound, Finished)
    house.engine.check_integrity()


def test_a_slow_reader_is_paused_and_others_are_untouched(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("slow", LONG)
    house.run(0.2)
    house.engine.submit(SetPaused(request_id="slow", paused=True))
    house.run(0.1)
    before = house.listeners["slow"].dry_s
    house.ask("other", SHORT)
    house.run(5)
    assert house.listeners["slow"].dry_s == before
    assert isinstance(house.listeners["other"].end, Finished)
    house.engine.submit(SetPaused(request_id="slow", paused=False))
    house.run(60)
    assert house.engine.stats().counters["late_chunks"] == 0, "who paused himself was not served late"


def test_text_slower_than_speech_is_a_pause_and_not_an_end(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("slow", "", end=False)
    for _ in range(8):
        house.engine.submit(Append(request_id="slow", text="Another few words came along here today. "))
        house.engine.submit(Flush(request_id="slow"))
        house.run(8)
        assert house.listeners["slow"].waiting
        assert house.listeners["slow"].end is None
    house.engine.submit(EndText(request_id="slow"))
    house.run(1)
    assert isinstance(house.listeners["slow"].end, Finished)
    assert house.listeners["slow"].underruns == 0
    assert house.engine.stats().counters["late_chunks"] == 0


def test_a_lead_cap_holds_and_the_stream_still_never_runs_dry(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("capped", LONG, max_lead_s=1.0)
    for _ in range(100):
        house.run(0.2)
        listener = house.listeners["capped"]
        assert listener.dry_s - house.clock.now_s < 1.0 + 0.4
    assert listener.underruns == 0


def row(slot: int, lead_s: float, pending: int = 0) -> Row:
    return Row(slot=slot, lead_s=lead_s, arrived_s=0.0, pending=pending)


def worth(*rows: Row) -> list[int]:
    """Slots."""
    return [one.slot for one in worth_decoding(rows, low_water_s=0.5, lead_cap_s=2.0)]


def test_work_ahead_is_for_idle_capacity() -> None:
    assert worth(row(0, 9.0), row(1, 3.0)) == [0, 1]
    assert worth(row(0, 9.0), row(1, 1.0), row(2, 0.3)) == [1, 2]
    assert worth(row(0, 9.0), row(1, 1.0), row(2, NO_AUDIO), row(3, 0.05)) == [2, 3]


def test_whose_codes_the_vocoder_does_not_take_gets_no_more_and_holds_nobody_up() -> None:
    assert [is_sated(row(0, 1.0, pending)) for pending in (0, SATED_CODES - 1, SATED_CODES)] == [False, False, True]
    assert worth(row(0, 1.0, SATED_CODES), row(1, 1.0, SATED_CODES - 1)) == [1]
    assert worth(row(0, 0.1, SATED_CODES), row(1, 9.0)) == [1], "who is short is short of the vocoder"
    assert worth(row(0, NO_AUDIO, SATED_CODES), row(1, 9.0), row(2, 0.3)) == [2]
    assert worth(row(0, 1.0, SATED_CODES)) == []


def test_who_stands_back_speaks_behind_all_others_and_to_the_end(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("closing", SHORT)
    house.engine.submit(StandBack(request_id="closing"))
    for index in range(30):
        house.ask(f"s{index}", SHORT)
    house.run(30)
    assert house.ttfa_s("closing") > max(house.ttfa_s(f"s{index}") for index in range(30))
    assert all(isinstance(one.end, Finished) for one in house.listeners.values())


def test_who_stands_back_alone_is_not_held_up(bundle: Bundle) -> None:
    house = House(bundle)
    house.ask("closing", LONG, max_lead_s=1.0)
    house.engine.submit(StandBack(request_id="closing"))
    house.run(3)
    assert house.ttfa_s("closing") < 0.05
    assert house.listeners["closing"].underruns == 0


def test_thin_is_who_speaks_on_with_little_in_hand_for_want_of_speed(bundle: Bundle) -> None:
    def thin(house: House) -> int:
        return house.engine._load().thin

    quick, slow = House(bundle), House(bundle, lm_s=(0.5e-3, 3e-3), vocoder_s=(0.3e-3, 0.3e-3))
    for house in (quick, slow):
        for index in range(10):
            house.ask(f"s{index}", LONG)
        house.ask("fed", "It goes on, ", end=False)
        house.ask("capped", LONG, max_lead_s=0.3)
        house.run(0.5)
        assert thin(house) == 0, "who has just begun has no lead yet"
        house.run(2.5)
    assert thin(quick) == 0, "neither who waits for text nor who asked for no more"
    assert 5 <= thin(slow) <= 10
    late = slow.engine._sequences["s0"]
    for excuse in ("paused", "stands_back", "had_to_wait"):
        before = thin(slow)
        setattr(late, excuse, True)
        assert thin(slow) == before - 1, excuse
        setattr(late, excuse, False)
