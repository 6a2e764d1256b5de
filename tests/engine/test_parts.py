"""Scheduler, pools, segments and the bundle reader, on small true things."""

from __future__ import annotations

import ctypes
import json
import mmap
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.bundle import Bundle, default_bundle, load_bundle
from engines.errors import BundleError, IntegrityError
from engines.families.phone_pointer.durations import Planner, place_at
from engines.families.phone_pointer.segmenter import LONGEST_PHONES, SENTENCE_PHONES, Segment, Segmenter
from engines.kv_blocks import BlockPool
from engines.runtime.onnx_cpu import OnnxDurations, OnnxLm
from engines.scheduling.policy import NO_AUDIO, Marks, Row, batch_runs, chunk_codes
from engines.slots import SlotPool
from engines.text import FrontEnd, PauseType, Phone, pause, phone_id
from tests.engine.toys import ToyDurations

MAX_GAP, MARKS = 3, Marks.of(0.04)


def row(slot: int, lead_s: float) -> Row:
    return Row(slot=slot, lead_s=lead_s, arrived_s=float(slot))


def test_first_audio_comes_before_least_lead() -> None:
    rows = [row(0, 5.0), row(40, float("-inf")), row(80, 9.0)]
    assert batch_runs(rows, max_batch=1, max_gap=3) == [(40, 41)]
    assert batch_runs(rows, max_batch=4, max_gap=3) == [(40, 41)], "another call costs as much as a few rows"
    assert batch_runs(rows, max_batch=5, max_gap=3) == [(40, 41), (0, 1)]
    assert batch_runs([], max_batch=32, max_gap=3) == []


def test_a_small_gap_is_joined_and_a_large_one_is_not() -> None:
    assert batch_runs([row(slot, 1.0) for slot in (0, 1, 3, 10, 12)], max_batch=32, max_gap=3) == [
        (0, 4),
        (10, 13),
    ]
    assert batch_runs([row(0, 1.0), row(1 + MAX_GAP, 1.0)], max_batch=32, max_gap=3) == [(0, MAX_GAP + 2)]
    assert batch_runs([row(0, 1.0), row(2 + MAX_GAP, 1.0)], max_batch=32, max_gap=3) == [
        (0, 1),
        (2 + MAX_GAP, 3 + MAX_GAP),
    ]


@given(st.sets(st.integers(0, 127)), st.integers(1, 32), st.randoms(use_true_random=False))
def test_runs_hold_the_most_urgent_row_and_no_more_than_fit(
    slots: set[int], max_batch: int, rng: random.Random
) -> None:
    rows = [row(slot, rng.choice([0.0, 1.0, 2.0])) for slot in slots]
    runs = batch_runs(rows, max_batch, MAX_GAP)
    covered = [slot for first, last in runs for slot in range(first, last)]
    assert len(covered) == len(set(covered)) <= max_batch
    assert not rows or min(rows, key=lambda one: one.urgency).slot in range(*runs[0]), "the most urgent go first"
    assert all(first in slots and last - 1 in slots for first, last in runs)
    assert slots <= set(covered) or len(covered) + MAX_GAP + 1 >= max_batch or len(runs) > 1


def test_a_part_of_a_crowd_has_the_least_lead() -> None:
    crowd = [row(slot, 0.1 if 30 <= slot < 40 else 5.0) for slot in range(64)]
    assert batch_runs(crowd, max_batch=10, max_gap=3) == [(30, 40)]
    newcomers = [row(slot, float("-inf") if slot > 60 else 1.0) for slot in range(64)]
    ((first, last),) = batch_runs(newcomers, max_batch=8, max_gap=3)
    assert first <= 61
    assert last == 64


def test_chunks_grow_with_the_lead() -> None:
    patience = []
    for lead_s in (0.0, 0.2, 0.5, 2.0):
        patience.append(next(n for n in range(1, 20) if chunk_codes(n, lead_s, MARKS, first=None, no_more=False)))
    assert patience == [1, 2, 4, 8]
    assert chunk_codes(20, 0.0, MARKS, first=None, no_more=False) == 8
    assert chunk_codes(3, 2.0, MARKS, first=None, no_more=False) == 0
    assert chunk_codes(3, 2.0, MARKS, first=None, no_more=True) == 2
    assert chunk_codes(1, NO_AUDIO, MARKS, first=2, no_more=False) == 0
    assert chunk_codes(2, NO_AUDIO, MARKS, first=2, no_more=False) == 2
    assert chunk_codes(3, NO_AUDIO, MARKS, first=4, no_more=False) == 0
    assert chunk_codes(4, NO_AUDIO, MARKS, first=4, no_more=False) == 4
    assert chunk_codes(1, NO_AUDIO, MARKS, first=4, no_more=True) == 1


def test_pools_find_what_was_lost() -> None:
    slots, blocks = SlotPool(2), BlockPool(10)
    assert [slots.allocate(), slots.allocate(), slots.allocate()] == [0, 1, None]
    slots.release(1)
    with pytest.raises(IntegrityError):
        slots.release(1)
    blocks.grow(0, 33)
    assert blocks.free == 7
    assert not blocks.can_grow(1, 16 * 8)
    with pytest.raises(IntegrityError):
        blocks.grow(1, 16 * 8)
    blocks.release(0)
    blocks.free -= 1
    with pytest.raises(IntegrityError):
        blocks.check()


def phones(count: int, *, word: int = 0) -> list[Phone]:
    return [
        Phone(phone_id("t", stressed=False, word_start=index == 0), "t", word, 0, 1, None) for index in range(count)
    ]


def test_segments_close_at_sentences_and_never_grow_too_long() -> None:
    segmenter = Segmenter(speed=1.0)
    (segment,) = segmenter.feed([pause(PauseType.PLAIN, 0), *phones(SENTENCE_PHONES), pause(PauseType.PERIOD, 9)])
    assert segment.closed
    begun = segmenter.feed([phone for word in range(100) for phone in phones(5, word=word)])
    assert all(len(one.phones) <= LONGEST_PHONES + 8 for one in begun)
    assert all(one.phones[0].pause is not None for one in begun)
    assert [one.closed for one in begun] == [True] * (len(begun) - 1) + [False]


def test_short_sentences_share_a_segment() -> None:
    found = Segmenter(speed=1.0).feed(FrontEnd.load().phones("Yes. No. Maybe so."))
    assert len(found) == 1


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(default_bundle(), tmp_path / "bundle"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.update(changes)
    path.write_text(json.dumps(manifest))


def test_bundle_refuses_a_changed_file(copy: Path) -> None:
    with open(copy / "vocoder.onnx", "ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"vocoder\.onnx has sha256"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "format 99 is not supported, this version reads 4$"),
        ({"format": 2}, "format 2 is not supported, this version reads 4; .* export it again"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"hop_length": 0}, r"manifest\.hop_length: Expected `int` >= 1 \(0\)"),
        ({"hop_length": True}, "hop_length: Expected `int`, got `bool`"),
        ({"voices": []}, "voices is empty"),
        ({"files": {"../escape.onnx": "0"}}, "not inside the bundle"),
        ({"files": {}}, "no hash"),
        ({"codes": {"pattern": "delay", "levels": [8], "count": 8, "begin": 8}}, r"codes\.pattern: .*'delay'"),
        ({"licences": "MIT"}, "licences: Expected `array`, got `str`"),
        (
            {"voices": [{"id": "a", "name": "A", "index": "0", "description": ""}]},
            r"voices\[0\]\.index: Expected `int`, got `str` \('0'\)",
        ),
        ({"codes": {"pattern": "flat", "levels": [8, 8], "count": 8, "begin": 8}}, "make 64 codes, not 8"),
    ],
)
def test_bundle_refuses_what_does_not_match(copy: Path, changes: dict[str, object], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(copy)


def test_bundle_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a readable manifest"):
        load_bundle(tmp_path / "nowhere")


class TestPlan:
    def test_a_phone_is_as_long_wherever_it_stands_in_a_call(self, bundle: Bundle) -> None:
        runtime, rng = OnnxDurations(bundle), np.random.default_rng(9)
        durations, width = bundle.durations, len(bundle.durations.window)
        firsts = [durations.phones + place * durations.num_phone_ids for place in range(width)]
        firsts += [durations.pauses + place * durations.num_pause_types for place in range(width)]
        rows = np.array([*firsts, durations.speaker]) + rng.integers(0, 2, (400, 2 * width + 1))
        stretch = rng.uniform(-0.3, 0.3, 400).astype(np.float32)
        found = []
        for order in (np.arange(400), rng.permutation(400)):
            hops = np.zeros(400, np.int64)
            for at in range(0, 400, runtime.rows):
                some = order[at : at + runtime.rows]
                runtime.features[:], runtime.stretch[:] = rows[some], stretch[some]
                hops[some] = runtime.plan()
            found.append(hops)
        assert np.array_equal(*found)
        assert len(set(found[0].tolist())) > 5, "the inputs matter"

    def test_steps_are_counted_before_they_are_made(self, bundle: Bundle, front_end: FrontEnd) -> None:
        planner = Planner(bundle, ToyDurations(bundle))
        for text in ("No.", "Is it five past ten? I thought so; you did not."):
            segmenter = Segmenter(1.0)
            (segment,) = segmenter.feed(front_end.phones(text))
            planner.extend(segment, 0, 1.0)
            before = list(segment.ends)
            segmenter.close()
            planner.extend(segment, 0, 1.0)
            assert segment.ends[: len(before)] == before
            assert segment.ends == [bundle.durations.opening_hops + 8 * at for at in range(len(segment.phones))]
            places, place = [], place_at(bundle, segment, 0, 0, 1)
            while place is not None:
                places.append(place)
                place = place_at(bundle, segment, place.step + 1, place.pointer, 1)
            assert [one.step for one in places] == list(range(len(places)))
            opening = int(bundle.durations.opening_hops <= bundle.frames_per_code // 2)  # too short for a step's middle
            assert sorted({one.pointer for one in places}) == list(range(opening, len(segment.phones)))
            middle = len(places) * bundle.frames_per_code + bundle.frames_per_code // 2
            assert segment.ends[-1] <= middle < segment.ends[-1] + bundle.frames_per_code

    def test_planned_as_far_as_asked_it_is_the_same_plan(self, bundle: Bundle, front_end: FrontEnd) -> None:
        planner = Planner(bundle, OnnxDurations(bundle))
        whole, piecewise = Segment(), Segment()
        for phone in front_end.phones("Is it five past ten? I thought so; you did not, and neither did we all."):
            whole.add(phone)
            piecewise.add(phone)
        whole.closed = piecewise.closed = True
        planner.extend(whole, 0, 1.0)
        calls = 0
        for hop in range(whole.ends[-1] + 1):
            before = len(piecewise.ends)
            planner.extend(piecewise, 0, 1.0, hop)
            calls += len(piecewise.ends) > before
            under = next((at for at, end in enumerate(piecewise.ends) if end > hop), None)
            complete = len(piecewise.ends) == len(piecewise.phones)
            assert complete or (under is not None and under + 1 < len(piecewise.ends)), "it and its successor"
        assert piecewise.ends == whole.ends
        assert calls == -(-(len(whole.phones) - 1) // bundle.durations.rows), "none is made in vain"


def test_the_memory_of_all_slots_is_there_from_the_start(bundle: Bundle) -> None:
    """Else a busier minute than any before would wait for pages, and could find none."""
    for slab in OnnxLm(bundle, 64)._cache.values():
        first = -(-slab.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = (slab.ctypes.data + slab.nbytes - first) // mmap.PAGESIZE
        resident = (ctypes.c_ubyte * pages)()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(first), ctypes.c_size_t(pages * mmap.PAGESIZE), resident) == 0
        assert all(page & 1 for page in resident)
