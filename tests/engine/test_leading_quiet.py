"""What is sent begins with the first audible window, whatever the chunks: by hand and on the shipped bundle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.overlap_add import RATES_HZ
from engines.leading_quiet import LeadingQuiet, loud_windows
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    EndText,
    Event,
    Finished,
    LeadingSilence,
    Submit,
    WaitingForText,
)
from engines.text import FrontEnd
from server.speech.accounting import FirstAudible
from tests.engine.driving import pcm_of, settle
from tests.engine.toys import FakeClock, ToyDurations, ToyTalker, ToyVocoder

RATE_HZ = 24_000
WINDOW = 240
FADE = RATE_HZ // 1000
SOFT_OPENINGS = ("Hello there, how are you?", "Friday is fine.", "Thank you, that is all.", "Here is the code.")
TEXT = "Please hold the line for a moment."


def tone(windows: int, dbfs: float) -> NDArray[np.int16]:
    """A square wave of exactly that level."""
    height = round(32768 * 10 ** (dbfs / 20))
    return np.tile(np.array([height, -height], np.int16), windows * WINDOW // 2)


def sent(samples: NDArray[np.int16], sizes: list[int] | None = None) -> tuple[NDArray[np.int16], int]:
    """All that comes out, and how many samples were withheld."""
    quiet, out, at = LeadingQuiet(RATE_HZ), b"", 0
    for size in sizes or []:
        out += quiet.feed(samples[at : at + size].tobytes(), last=False)
        at += size
    out += quiet.feed(samples[at:].tobytes(), last=True)
    return np.frombuffer(out, "<i2"), quiet.withheld


def test_quiet_goes_and_what_follows_fades_in() -> None:
    samples = np.concatenate([tone(5, -60), tone(3, -44)])
    heard, withheld = sent(samples)
    assert withheld == 5 * WINDOW
    np.testing.assert_array_equal(heard[FADE:], samples[withheld + FADE :])
    assert heard[0] == 0
    assert len(heard) == 3 * WINDOW
    assert loud_windows(heard, RATE_HZ).all()
    assert all(np.abs(heard[:FADE]) <= np.abs(samples[withheld : withheld + FADE]))


@pytest.mark.parametrize(("soft", "kept"), [(0, 0), (1, 0), (2, 2), (5, 5), (9, 5)])
def test_a_soft_opening_of_20_ms_stays_up_to_50_ms(soft: int, kept: int) -> None:
    _, withheld = sent(np.concatenate([tone(6, -70), tone(soft, -49.9), tone(2, -30)]))
    assert withheld == (6 + soft - kept) * WINDOW


def test_a_click_before_a_closure_is_no_opening() -> None:
    _, withheld = sent(np.concatenate([tone(2, -70), tone(2, -49), tone(3, -70), tone(2, -30)]))
    assert withheld == 7 * WINDOW


def test_sound_at_once_is_sent_as_it_is() -> None:
    samples = tone(3, -20)
    heard, withheld = sent(samples)
    assert withheld == 0
    np.testing.assert_array_equal(heard, samples)


@pytest.mark.parametrize("windows", [0, 7])
def test_what_is_never_audible_is_sent_whole_at_its_end(windows: int) -> None:
    samples = tone(windows, -46)
    quiet = LeadingQuiet(RATE_HZ)
    assert quiet.feed(samples.tobytes(), last=False) == b""
    assert quiet.feed(b"", last=True) == samples.tobytes()
    assert quiet.withheld == 0


@given(
    levels=st.lists(st.sampled_from([-90.0, -60.0, -49.0, -46.0, -44.0, -20.0]), max_size=12),
    sizes=st.lists(st.integers(0, 500), max_size=12),
    odd=st.integers(0, WINDOW - 1),
)
def test_chunks_change_nothing(levels: list[float], sizes: list[int], odd: int) -> None:
    samples = np.concatenate([tone(1, level) for level in levels] or [tone(0, -90)])[odd:]
    whole, streamed = sent(samples), sent(samples, sizes)
    np.testing.assert_array_equal(whole[0], streamed[0])
    assert whole[1] == streamed[1]


@given(sizes=st.lists(st.integers(0, 500), max_size=12), quiet=st.integers(0, 8))
def test_the_first_audible_window_is_found_in_any_chunks(sizes: list[int], quiet: int) -> None:
    samples, finder, at, found = np.concatenate([tone(quiet, -60), tone(12, -20)]), FirstAudible(RATE_HZ), 0, []
    for size in [*sizes, len(samples)]:
        place = finder.find(samples[at : at + size].tobytes())
        if place is not None:
            found.append(at + place)
        at += len(samples[at : at + size])
    assert found == [quiet * WINDOW]


# -- on the shipped bundle -------------------------------------------------------------------------------------------


@pytest.fixture
def engine(bundle: Bundle, front_end: FrontEnd) -> Iterator[Engine]:
    one = load_engine(bundle, EngineConfig(slots=12, workers=False), front_end=front_end)
    yield one
    one.check_integrity()
    one.close()


def ask(engine: Engine, name: str, text: str, words: bool = False, **settings: object) -> None:
    engine.submit(Submit(request_id=name, **({"voice": "rms", "seed": 3} | settings)))  # type: ignore[arg-type]
    for piece in [word + " " for word in text.split()] if words else [text]:
        engine.submit(Append(request_id=name, text=piece))
    engine.submit(EndText(request_id=name))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("text", [TEXT, *SOFT_OPENINGS])
def test_nothing_but_quiet_is_missing_at_any_rate(engine: Engine, text: str, rate_hz: int) -> None:
    ask(engine, "kept", text, sample_rate_hz=rate_hz, leading_silence=LeadingSilence.KEEP)
    ask(engine, "trimmed", text, sample_rate_hz=rate_hz)
    events = settle(engine)
    kept, trimmed = (np.frombuffer(pcm_of(events, name), "<i2") for name in ("kept", "trimmed"))
    withheld = len(kept) - len(trimmed)
    assert withheld > 0
    fade = rate_hz // 1000
    np.testing.assert_array_equal(trimmed[fade:], kept[withheld + fade :])
    assert not loud_windows(kept[:withheld], rate_hz).any()
    assert int(np.argmax(loud_windows(trimmed, rate_hz))) <= 5
    ended = {event.request_id: event for event in events if isinstance(event, Finished)}
    assert ended["trimmed"].samples == len(trimmed)
    assert ended["trimmed"].timings.audio_s == pytest.approx(len(trimmed) / rate_hz)


def test_word_times_count_from_the_first_sample_sent(engine: Engine) -> None:
    ask(engine, "kept", TEXT, leading_silence=LeadingSilence.KEEP)
    ask(engine, "trimmed", TEXT)
    events = settle(engine)
    withheld_s = (len(pcm_of(events, "kept")) - len(pcm_of(events, "trimmed"))) / 2 / RATE_HZ
    chunks = [event for event in events if isinstance(event, Chunk)]
    words = {
        name: [word for one in chunks if one.request_id == name for word in one.words] for name in ("kept", "trimmed")
    }
    assert [(one.start_char, one.end_char) for one in words["kept"]] == [
        (one.start_char, one.end_char) for one in words["trimmed"]
    ]
    for kept, trimmed in zip(words["kept"], words["trimmed"], strict=True):
        assert trimmed.start_s == pytest.approx(max(0.0, kept.start_s - withheld_s))
        assert trimmed.end_s == pytest.approx(kept.end_s - withheld_s)
    first = [one.first_sample for one in chunks if one.request_id == "trimmed"]
    assert first[0] == 0


@pytest.mark.parametrize("text", [TEXT, *SOFT_OPENINGS])
def test_the_first_chunk_is_heard_however_the_text_comes(engine: Engine, text: str) -> None:
    ask(engine, "whole", text)
    ask(engine, "words", text, words=True)
    events = settle(engine)
    for name in ("whole", "words"):
        first = next(event for event in events if isinstance(event, Chunk) and event.request_id == name)
        assert loud_windows(np.frombuffer(first.pcm, "<i2"), RATE_HZ).any()
    assert pcm_of(events, "whole") == pcm_of(events, "words")


# -- streams that open with much quiet ---------------------------------------------------------------------------------

QUIET_CODES = 7


@pytest.fixture
def hushed(bundle: Bundle) -> Iterator[Engine]:
    """Every utterance opens with 280 ms of silence."""
    clock, config = FakeClock(), EngineConfig(slots=4, workers=False, drafts=DraftMode.OFF)
    one = load_engine(
        bundle,
        config,
        clock,
        talker=ToyTalker(bundle, clock, 0.3e-3, 0.1e-3),
        vocoder=ToyVocoder(bundle, clock, 0.3e-3, 0.1e-3, quiet=QUIET_CODES),
        durations=ToyDurations(bundle),
    )
    yield one
    one.check_integrity()
    one.close()


def test_a_stream_waits_for_first_audio_until_it_is_heard(hushed: Engine) -> None:
    ask(hushed, "long", "A long story that others would listen to, and then another one behind it.")
    settle(hushed)
    ask(hushed, "quiet", TEXT)
    chunks: list[Chunk] = []
    while not chunks:
        chunks += [event for event in hushed.step() if isinstance(event, Chunk)]
        if not chunks:
            assert hushed.load().first_pending == 1
            assert hushed.sequences["quiet"].samples == 0
    assert hushed.sequences["quiet"].vocoded > QUIET_CODES
    assert loud_windows(np.frombuffer(chunks[0].pcm, "<i2"), RATE_HZ)[:2].any()
    settle(hushed)


def rounds(engine: Engine, seconds: float) -> list[Event]:
    """Rounds of that much time, worked or idle."""
    clock, events = engine._clock, list[Event]()
    assert isinstance(clock, FakeClock)
    until_s = clock.now_s + seconds
    while clock.now_s < until_s:
        events += engine.step()
        clock.now_s += 1e-3
    return events


def test_its_lead_counts_what_was_sent(hushed: Engine) -> None:
    """All but the sums that are still open has been sent once its codes are vocoded."""
    ask(hushed, "quiet", TEXT)
    leads: list[float] = []
    while hushed.has_work:
        hushed.step()
        sequence, now = hushed.sequences.get("quiet"), hushed._clock()
        if sequence is not None and sequence.samples and not sequence.in_vocoder:
            leads.append(sequence.lead_s(now, sequence.vocoded) - sequence.plays_for_s(now))
    assert leads
    assert all(0 <= one < hushed.spec.frame_s for one in leads)


def test_a_text_that_stops_while_all_is_quiet_is_waited_for(hushed: Engine) -> None:
    hushed.submit(Submit(request_id="quiet", voice="rms", seed=3))
    hushed.submit(Append(request_id="quiet", text="So it is that "))
    events = [event for event in rounds(hushed, 0.2) if isinstance(event, WaitingForText | Chunk)]
    assert events == [WaitingForText(request_id="quiet", spoken_samples=0, heard=1)]
    hushed.submit(Append(request_id="quiet", text="they went away."))
    hushed.submit(EndText(request_id="quiet"))
    events = rounds(hushed, 0.2)
    assert pcm_of(events, "quiet")
    assert isinstance(events[-1], Finished)


def test_a_cancel_while_all_is_quiet_has_sent_nothing(hushed: Engine) -> None:
    hushed.submit(Submit(request_id="quiet", voice="rms", seed=3))
    hushed.submit(Append(request_id="quiet", text="So it is that "))
    rounds(hushed, 0.2)
    hushed.submit(Cancel(request_id="quiet"))
    assert settle(hushed) == [Cancelled(request_id="quiet", samples=0)]
