"""A pause whose length the text gives is silent for that long, and a rate changes how long words take."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.held_silence import HeldPause, HeldSilence
from engines.messages import Append, EndText, Event, Submit
from engines.synth import SpokenText, speak
from tests.engine.driving import pcm_of, settle

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    made = load_engine(bundle, EngineConfig(workers=False))
    yield made
    made.close()


def _longest_silence_s(spoken: SpokenText) -> float:
    silent = np.frombuffer(spoken.pcm, "<i2") == 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], silent.astype(np.int8), [0]])))
    return float((edges[1::2] - edges[::2]).max(initial=0)) / RATE_HZ


@pytest.mark.parametrize(
    ("written", "hold_s"),
    [
        ('Hello there <break time="1s"/> my friend.', 1.0),
        ("She was happy. [pause:2s] And then he came in.", 2.0),
        ("We see [pause:400ms] you", 0.4),
        ("Stop [pause:5s] now", 5.0),
        ("Stop [pause:1s]", 1.0),
    ],
)
def test_a_pause_is_silent_for_its_length(engine: Engine, written: str, hold_s: float) -> None:
    spoken = speak(engine, written, sample_rate_hz=RATE_HZ)
    assert hold_s - 0.25 <= _longest_silence_s(spoken) <= hold_s + 0.2
    assert not spoken.timings.guards


def test_word_times_count_the_pause(engine: Engine) -> None:
    spoken = speak(engine, 'Hello there <break time="3s"/> my friend.', sample_rate_hz=RATE_HZ)
    assert 3.0 <= spoken.words[2].start_s - spoken.words[1].end_s <= 3.1


def test_a_rate_stretches_its_words_alone(engine: Engine) -> None:
    plain, slow = (
        [word.end_s - word.start_s for word in speak(engine, text, sample_rate_hz=RATE_HZ).words]
        for text in (
            "We go quite slowly home and stay.",
            'We go <prosody rate="80%">quite slowly</prosody> home and stay.',
        )
    )
    assert slow[0] == pytest.approx(plain[0], abs=0.02)
    assert slow[2] > 1.1 * plain[2]
    assert slow[3] > 1.1 * plain[3]
    assert slow[5] == pytest.approx(plain[5], abs=0.05)


def test_feeding_does_not_matter(engine: Engine) -> None:
    text = 'One, two <break time="700ms"/> three. <prosody rate="fast">Four five</prosody> [pause:300ms] six.'
    expected = speak(engine, text, sample_rate_hz=RATE_HZ).pcm
    engine.submit(Submit(request_id="fed", voice=engine.spec.voices[0].id, seed=0, sample_rate_hz=RATE_HZ))
    events: list[Event] = []
    for letter in text:
        engine.submit(Append(request_id="fed", text=letter))
        events += settle(engine)
    engine.submit(EndText(request_id="fed"))
    events += settle(engine)
    assert pcm_of(events, "fed") == expected


@given(cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_chunks_change_nothing(cuts: list[int]) -> None:
    samples = np.full(4000, 1000, "<i2")
    zones = ((0.02, 0.2, True, False), (0.2, 0.23, False, True))

    def silenced(pieces: list[int]) -> bytes:
        held = HeldSilence(RATE_HZ)
        for start_s, end_s, opens, closes in zones:
            held.add(HeldPause(start_s=start_s, end_s=end_s, opens=opens, closes=closes))
        ends = [0, *sorted(pieces), len(samples)]
        return b"".join(held.feed(samples[first:last].tobytes()) for first, last in itertools.pairwise(ends))

    whole = np.frombuffer(silenced([]), "<i2")
    assert silenced(cuts) == whole.tobytes()
    assert not whole[2720:3200].any()
    assert (whole[:2560] == 1000).all()
    assert (whole[3360:] == 1000).all()
