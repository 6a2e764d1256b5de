"""The gates of a natural bundle: what they measure is held against what is known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import load_bundle
from engines.messages import Timings, WordTime
from engines.synth import SpokenText
from engines.text import FrontEnd
from models.bench import beside
from models.durations import DurationConfig, DurationNet
from models.judge import carried_times, natural_gate, natural_mixed
from models.judge.carried_times import Timed
from models.judge.natural_gate import Bar, Gate, bars, kept, measure, table
from models.judge.natural_mixed import Compared
from models.teacher.prepare import load
from models.teachers.kokoro.speaker import Prosody, Speaker

FIXTURE = Path(__file__).parent / "fixture"
RATE_HZ = 16_000


def teachers(count: int) -> list[Timed]:
    """Sentences of the committed minute, with a span for each word."""
    utterances, pcm, _ = load(FIXTURE, "rms")
    found = []
    for one in utterances[:count]:
        spans: dict[int, tuple[float, float]] = {}
        start_s = 0.0
        for _, end_s, _, word, _ in one.segments:
            if word >= 0:
                spans[word] = spans.get(word, (start_s, end_s))[0], end_s
            start_s = end_s
        samples = np.array(pcm[one.offset : one.offset + one.samples])
        found.append(Timed(text=one.text, samples=samples, spans=list(spans.values())))
    return found


def delayed(one: Timed, pause_s: float) -> Timed:
    """With a silence before its second half, in samples and times alike."""
    at_s = one.spans[len(one.spans) // 2][0]
    at = round(at_s * RATE_HZ)
    silence = np.zeros(round(pause_s * RATE_HZ), np.int16)
    samples = np.concatenate([one.samples[:at], silence, one.samples[at:]])
    spans = [(a + pause_s, b + pause_s) if a >= at_s else (a, b) for a, b in one.spans]
    return Timed(text=one.text, samples=samples, spans=spans)


def test_times_are_carried_over_by_sound_alone() -> None:
    theirs = teachers(3)
    ours = [delayed(one, 0.25) for one in theirs]
    row = carried_times.compare(ours, theirs)
    assert row["sentences"] == 3
    assert row["both_median_ms"] <= 10, "the ruler's own error"
    late = [replace(one, spans=[(a + 0.06, b + 0.06) for a, b in one.spans]) for one in ours]
    assert carried_times.compare(late, theirs)["both_offset_ms"] == pytest.approx(60, abs=10)


def test_each_token_has_one_span() -> None:
    phones = FrontEnd.load().phones("It's $5, now.")
    ends_s = [0.1 * (place + 1) for place in range(len(phones))]
    spans = carried_times.token_spans(phones, ends_s)
    assert len(spans) == 3
    assert all(start < end for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


def test_the_texts_are_of_all_kinds_and_always_the_same() -> None:
    found = natural_mixed.texts()
    assert len(found) == natural_mixed.COUNT
    assert found == natural_mixed.texts()
    assert sum(text.endswith("?") for text in found) > 30
    assert sum(any(mark.isdigit() for mark in text) for text in found) > 50
    assert sum(len(text.split()) <= 2 for text in found) > 30
    assert sum(len(text) > 300 for text in found) > 20
    assert sum('"' in text for text in found) > 20


class Planner:
    """A teacher of four frames a token, as fast as it is asked to speak."""

    def plan(self, symbols: str, voice: str, speed: float = 1.0) -> Prosody:
        frames = np.full(len(symbols) + 2, round(4 / speed))
        energy = np.full(2 * int(frames.sum()), 5, np.float32)
        energy[:8] = energy[-8:] = -5
        return Prosody(frames=frames, f0_hz=np.full(len(energy), 150, np.float32), energy=energy)


def test_planned_lengths_are_beside_the_teachers() -> None:
    teacher = cast(Speaker, Planner())
    one = natural_mixed.teacher_example(FrontEnd.load(), teacher, "The sun went down behind the hills.", "x", 0)
    assert one is not None
    network = DurationNet(DurationConfig(voices=1, num_phone_ids=300))
    with torch.no_grad():
        network.leave.weight.zero_()
        network.leave.bias.fill_(math.log(7.0))
    ((ours_s, teacher_s),) = natural_mixed.of_durations(network, [one])
    assert ours_s == pytest.approx(0.07 * (len(one.phones) - 2)), "each phone seven hops, the outer pauses left out"
    assert teacher_s == pytest.approx((one.ends[-2] - one.ends[0]) / 100)


def spoken(words: list[tuple[float, float]], seconds: float, silent: slice = slice(0, 0)) -> SpokenText:
    samples = np.full(round(seconds * RATE_HZ), 2000, np.int16)
    samples[silent] = 0
    timings = Timings(
        first_text_s=0, started_s=0, first_chunk_s=0, finished_s=0, audio_s=seconds, lm_steps=0, segments=1
    )
    times = tuple(WordTime(start_char=0, end_char=1, start_s=a, end_s=b) for a, b in words)
    return SpokenText(pcm=samples.tobytes(), sample_rate_hz=RATE_HZ, words=times, timings=timings)


def test_skips_and_runaways_are_seen() -> None:
    words = [(0.1, 0.5), (0.5, 1.0)]
    assert natural_mixed.problems(spoken(words, 1.1), 2) == []
    assert natural_mixed.problems(spoken(words, 1.1), 3) == ["1 of 3 words have no time"]
    (silent,) = natural_mixed.problems(spoken(words, 1.1, slice(8_000, 16_000)), 2)
    assert "nothing is heard at 0.50" in silent
    assert natural_mixed.problems(spoken(words, 2.0), 2) == ["it goes on behind the last word"]
    found = natural_mixed.figures([Compared(text="", ours_s=a, teacher_s=1.0) for a in (0.8, 1.0, 1.3)], [], 1)
    assert (found["outside"], found["texts"], found["not_compared"]) == (2, 4, 1)


def test_a_bar_passes_only_what_was_measured() -> None:
    bar = Bar(what="x", path=("part", "figure"), least=0.8, most=1.2)
    assert bar.passes({"part": {"figure": 1.0}})
    assert not bar.passes({"part": {"figure": 1.3}})
    assert not bar.passes({"part": {"figure": float("nan")}})
    assert not bar.passes({})
    rows = table({}, bars(["af_heart", "am_michael"])).columns
    assert set(rows[2].cells) == {"not measured"}
    assert {bar.path[0] for bar in bars(["x"])} == set(natural_gate.PARTS)


def test_what_is_measured_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2_500_000))
    gate = Gate(path=tmp_path, against=None, voices=[], lists=tmp_path, packages=tmp_path)
    written: list[dict[str, Any]] = []
    found = measure(gate, ["size"], {"speed": {"streams_ratio": 1.0}}, written.append)
    assert found == written[-1] == {"speed": {"streams_ratio": 1.0}, "size": {"megabytes": 2.5}}
    measure(gate, ["size"], found, lambda figures: pytest.fail("it is there already"))


def test_figures_of_another_bundle_are_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert kept(out, "a" * 64) == {"bundle": "a" * 64}
    out.write_text(json.dumps({"bundle": "a" * 64, "size": {"megabytes": 31.0}}))
    assert kept(out, "a" * 64)["size"] == {"megabytes": 31.0}
    assert kept(out, "b" * 64) == {"bundle": "b" * 64}
    out.write_text(json.dumps({"size": {"megabytes": 31.0}}))
    assert "size" not in kept(out, "a" * 64)


def test_a_bundle_goes_through_what_needs_no_teacher() -> None:
    """The bundle that ships, beside itself: the path, not the figures."""
    bundle = load_bundle(Path("flite"))
    row = beside.measure(bundle, bundle, streams=2, rounds=1)
    assert 0.2 < row["streams_ratio"] < 5
    assert row["ttfa_ms"] > 0
    engine = load_engine(bundle, EngineConfig(workers=False))
    ours = carried_times.of_engine(engine, "rms", ["The sun went down."])
    teacher = cast(Speaker, Planner())
    made = natural_mixed.of_engine(engine, FrontEnd.load(), teacher, "rms", 0, ["Hello there.", "7", "👍"])
    engine.close()
    assert len(ours[0].spans) == 4
    compared, wrong, refused = made
    assert ([one.text for one in compared], wrong, refused) == (["Hello there.", "7"], [], 1)


def test_figures_go_into_the_manifest_short() -> None:
    assert natural_gate.rounded({"heard": {"a": {"p808": 3.876543, "n": 4}}, "size": 1.0}) == {
        "heard": {"a": {"p808": 3.8765, "n": 4}},
        "size": 1.0,
    }
