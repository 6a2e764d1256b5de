"""The laws of streaming, byte for byte in 16-bit samples: of the shipped voice and of two toy families."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.overlap_add import RATES_HZ, OverlapAdd
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    EndText,
    Event,
    Finished,
)
from engines.runtime.base import IntArray
from engines.sequence import Sequence
from engines.synth import speak
from engines.vocoding import to_s16
from models.cpu_networks import spectrum_model
from tests.engine.driving import OTHERS, TEXT, Make, pcm_of, settle, submit, whole
from tests.families.toy_engine import toy_engine


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("chunks", [[1], [2], [5], [25], None])
def test_streamed_equals_one_shot(bundle: Bundle, rate_hz: int, chunks: list[int] | None) -> None:
    vocoder, rate = spectrum_model(bundle), OverlapAdd(bundle, rate_hz)
    rng = np.random.default_rng(5)
    codes = rng.integers(0, bundle.codes.count, (1, 40))
    weights, pitch = np.array([[0.2, 0.5, 0.3, 0.0]], np.float32), np.array([1.3], np.float32)

    def run(sizes: Iterator[int]) -> bytes:
        state, sums, parts, start = vocoder.initial_state(1), rate.start()[None], [], 0
        while start < codes.shape[1]:
            size = min(next(sizes), codes.shape[1] - start)
            samples = bundle.samples_per_code
            excitation = noise(9, start * samples, bundle.look_back + size * samples)[None]
            spectrum, state = vocoder.run(codes[:, start : start + size, None], weights, pitch, excitation, state)
            part, sums = rate.run(spectrum, sums)
            parts.append(part)
            start += size
        return to_s16(np.concatenate([*parts, sums], axis=1)).tobytes()

    def sizes() -> Iterator[int]:
        chooser = random.Random(1)
        while True:
            yield chunks[0] if chunks else chooser.randint(1, 9)

    assert run(sizes()) == run(iter([40]))


def test_feeding_does_not_matter(engine: Engine) -> None:
    expected = whole(engine)
    words = [word + " " for word in TEXT.split(" ")]
    words[-1] = words[-1].rstrip()
    for name, pieces in {"words": words, "characters": list(TEXT)}.items():
        engine.submit(submit(engine, name))
        events: list[Event] = []
        for piece in pieces:
            engine.submit(Append(request_id=name, text=piece))
            events += settle(engine)
        engine.submit(EndText(request_id=name))
        events += settle(engine)
        assert pcm_of(events, name) == expected, name


def test_long_text_is_cut_into_segments_and_fed_in_any_way(engine: Engine) -> None:
    text = " ".join(OTHERS) + " " + TEXT * 3
    expected = whole(engine, text)
    engine.submit(submit(engine, "split"))
    rng, start, events = random.Random(4), 0, []
    while start < len(text):
        end = start + rng.randint(1, 30)
        engine.submit(Append(request_id="split", text=text[start:end]))
        events += settle(engine)
        start = end
    engine.submit(EndText(request_id="split"))
    events += settle(engine)
    finished = [event for event in events if isinstance(event, Finished)]
    assert finished[0].timings.segments > 1
    assert pcm_of(events, "split") == expected


def test_segment_joins_are_sample_continuous(shipped: Engine) -> None:
    """The vocoder runs on over a join, so no step between neighbouring samples exceeds those inside segments."""
    text = " ".join(OTHERS * 2)
    samples = np.frombuffer(whole(shipped, text), np.int16).astype(int)
    steps = np.abs(np.diff(samples, n=2))
    silent = steps[:200]
    assert steps.max() < 40 * max(200, np.percentile(steps, 99))
    assert silent.max() < 3000


def test_neighbours_change_nothing(make: Make) -> None:
    alone = make()
    expected = whole(alone)
    crowd = make()
    rng = random.Random(11)
    crowd.submit(submit(crowd, "n0", seed=100))
    crowd.submit(Append(request_id="n0", text=OTHERS[0]))
    crowd.submit(EndText(request_id="n0"))
    events: list[Event] = crowd.step()
    crowd.submit(submit(crowd, "me"))
    crowd.submit(Append(request_id="me", text=TEXT))
    crowd.submit(EndText(request_id="me"))
    for number in range(1, 9):
        name = f"n{number}"
        crowd.submit(submit(crowd, name, seed=number, voice=number % len(crowd.spec.voices)))
        crowd.submit(Append(request_id=name, text=rng.choice(OTHERS)))
        crowd.submit(EndText(request_id=name))
        for _ in range(rng.randint(1, 12)):
            events += crowd.step()
        if number % 3 == 0:
            crowd.submit(Cancel(request_id=f"n{number - 1}"))
    events += settle(crowd)
    assert pcm_of(events, "me") == expected
    crowd.check_integrity()


def test_worker_thread_changes_nothing(make: Make, engine: Engine) -> None:
    threaded = make(workers=True)
    assert speak(threaded, TEXT, seed=3).pcm == speak(engine, TEXT, seed=3).pcm
    threaded.close()


def test_same_seed_same_audio_other_seed_other_audio(engine: Engine) -> None:
    assert whole(engine, seed=5) == whole(engine, seed=5)
    assert whole(engine, seed=5) != whole(engine, seed=6)


def test_temperature_is_reproducible(engine: Engine) -> None:
    first, again = (speak(engine, TEXT, seed=8, temperature=0.7).pcm for _ in range(2))
    assert first == again
    assert first != speak(engine, TEXT, seed=9, temperature=0.7).pcm


@pytest.mark.parametrize("workers", [False, True])
def test_cancel_at_any_step_leaks_nothing(make: Make, workers: bool) -> None:
    engine = make(slots=2, workers=workers)
    text = "Well, cancel me at any time."
    steps, finished = 0, False
    while not finished:
        name = f"c{steps}"
        engine.submit(submit(engine, name))
        engine.submit(Append(request_id=name, text=text))
        engine.submit(EndText(request_id=name))
        seen: list[Event] = []
        for _ in range(steps):
            if not engine.has_work:
                engine.wait(5)
            seen += engine.step()
            if any(isinstance(event, Finished) for event in seen):
                finished = True
        engine.submit(Cancel(request_id=name))
        while True:
            seen += engine.step()
            if any(isinstance(event, Cancelled | Finished) for event in seen) and engine.stats().running == 0:
                break
            if not engine.has_work:
                engine.wait(5)
        ends = [event for event in seen if isinstance(event, Cancelled | Finished)]
        assert len(ends) == 1
        after = seen[seen.index(ends[0]) + 1 :]
        assert not [event for event in after if isinstance(event, Chunk)], "audio after the last event"
        while engine.has_work:
            engine.step()
        engine.check_integrity()
        steps += 1
    assert steps > 10
    engine.close()


@pytest.mark.parametrize("wrong", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_drafts_change_nothing(make: Make, monkeypatch: pytest.MonkeyPatch, wrong: float, temperature: float) -> None:
    """A drafter that knows what will be spoken, and says something else for a share of its guesses."""
    trial = make(drafts=DraftMode.ON)
    trial.close()
    if trial.model.drafter is None:
        pytest.skip("the family has no drafter")
    frames, commit, rng = list[np.ndarray](), Sequence.commit, random.Random(3)

    def recorded(sequence: Sequence, frame: np.ndarray, *made: Any) -> bool:
        frames.append(frame.copy())
        return commit(sequence, frame, *made)

    def foreseen(rows: IntArray, counts: IntArray, sampling: Any, keys: IntArray, made: Any) -> np.ndarray:
        done, drafted = len(frames) - first, np.zeros((1, drafter.frames, engine.spec.frame_width), np.int64)
        for place, frame in enumerate(known[done : done + drafter.frames]):
            drafted[0, place] = frame + (rng.random() < wrong)
        return drafted

    with monkeypatch.context() as watched:
        watched.setattr(Sequence, "commit", recorded)
        plain = make(drafts=DraftMode.OFF)
        expected = speak(plain, TEXT, seed=3, temperature=temperature)
        plain.close()
        known, first = list(frames), len(frames)
        engine = make(drafts=DraftMode.ON)
        drafter = engine.model.drafter
        assert drafter is not None
        watched.setattr(drafter, "propose", foreseen)
        assert speak(engine, TEXT, seed=3, temperature=temperature).pcm == expected.pcm
    counters = engine.stats().counters
    assert counters["draft_faults"] == 0
    accepted = counters["drafts_accepted"] / max(1, counters["drafts_proposed"])
    assert accepted > 0.5 if wrong == 0 else accepted == 0 if wrong == 1 else 0 < accepted < 0.9
    engine.check_integrity()
    engine.close()


def test_words_as_they_come_are_prefilled_in_blocks_and_batches(make: Make) -> None:
    """Many prompts at once, of different lengths and longer than a block, some cut by pauses in the text."""
    engine = make()
    texts = [" ".join(["antidisestablishmentarianism"] * count) for count in (1, 2, 3, 5, 9)]
    alone = [whole(engine, text, seed) for seed, text in enumerate(texts)]
    events = list[Event]()
    for seed, text in enumerate(texts):
        engine.submit(submit(engine, str(seed), seed))
        engine.submit(Append(request_id=str(seed), text=text[: 30 * seed]))
    events += settle(engine)
    for seed, text in enumerate(texts):
        engine.submit(Append(request_id=str(seed), text=text[30 * seed :]))
        engine.submit(EndText(request_id=str(seed)))
    events += settle(engine)
    assert [pcm_of(events, str(seed)) for seed in range(len(texts))] == alone
    if engine.spec.prompt_width:
        assert engine.counters.prefilled_positions > 29 * sum((1, 2, 3, 5, 9))


@pytest.mark.parametrize("name", ["prefix", "depth"])
def test_the_toys_hear_every_cached_position(name: str) -> None:
    """Else they would prove nothing: a position that is lost, of another slot or stale changes what is spoken."""
    engine = toy_engine(name, EngineConfig(slots=4, workers=False, drafts=DraftMode.OFF))
    expected = speak(engine, TEXT, seed=3, temperature=0.0).pcm
    slabs = engine.model.talker._lm.slabs  # type: ignore[attr-defined]
    for slab in slabs.slabs.values():
        slab.array[:] = 77  # of another time: nothing reads it before it is written
    assert speak(engine, TEXT, seed=3, temperature=0.0).pcm == expected
    run = engine.model.talker._lm.run  # type: ignore[attr-defined]

    def spoilt(slots: IntArray, inputs: IntArray, counts: IntArray, lengths: IntArray) -> Any:
        found = run(slots, inputs, counts, lengths)
        if lengths[0] >= 5:
            for slab in slabs.slabs.values():
                slab.array[slots[0], 0, 2] += 1
        return found

    engine.model.talker._lm.run = spoilt  # type: ignore[attr-defined]
    assert speak(engine, TEXT, seed=3, temperature=0.0).pcm != expected
    engine.close()
