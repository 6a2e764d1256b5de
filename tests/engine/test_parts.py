"""Segments and the bundle reader, on small true things."""

from __future__ import annotations

import ctypes
import json
import mmap
import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.assemble import open_bundle
from engines.errors import BundleError
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.durations import Planner
from engines.families.phone_pointer.inputs import StepInputs
from engines.families.phone_pointer.networks import Durations
from engines.families.phone_pointer.segmenter import LONGEST_PHONES, SENTENCE_PHONES, Segment, Segmenter
from engines.families.shipped import SHIPPED, bundle_folder
from engines.runtime import prefault
from engines.runtime.onnx_cpu import OnnxCpu
from engines.text import FrontEnd, PauseType, Phone, pause, phone_id
from models.cpu_networks import speech_model
from tests.engine.toys import ToyDurations


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
    return Path(shutil.copytree(bundle_folder(Path("flite")), tmp_path / "bundle"))


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
        ({"format": 99}, "format 99 is not supported, this version reads 5$"),
        ({"format": 2}, "format 2 is not supported, this version reads 5; .* export it again"),
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
    with pytest.raises(BundleError, match=r"nowhere does not exist; .* one that ships: natural, flite"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="not a readable manifest"):
        load_bundle(tmp_path)


def test_a_shipped_voice_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SHIPPED:
        assert open_bundle(bundle_folder(Path(name))).folder == bundle_folder(Path(name))
        assert bundle_folder(Path(".", name, "..", name)) == Path(name, "..", name), "a path is no name"
    assert bundle_folder(Path("other")) == Path("other")
    Path("flite").mkdir()
    assert bundle_folder(Path("flite")) == Path("flite"), "a folder of that name goes first"


class TestPlan:
    def test_a_phone_is_as_long_wherever_it_stands_in_a_call(self, bundle: Bundle) -> None:
        runtime, rng = Durations(bundle, OnnxCpu(own_kernels="off")), np.random.default_rng(9)
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
            StepInputs(bundle).extend(segment, 0)
            assert len(segment.rows) == len(segment.pointers)
            opening = int(bundle.durations.opening_hops <= bundle.frames_per_code // 2)  # too short for a step's middle
            assert sorted(set(segment.pointers)) == list(range(opening, len(segment.phones)))
            assert segment.pointers == sorted(segment.pointers)
            middle = len(segment.rows) * bundle.frames_per_code + bundle.frames_per_code // 2
            assert segment.ends[-1] <= middle < segment.ends[-1] + bundle.frames_per_code

    def test_planned_as_far_as_asked_it_is_the_same_plan(self, bundle: Bundle, front_end: FrontEnd) -> None:
        planner = Planner(bundle, Durations(bundle, OnnxCpu(own_kernels="off")))
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
    slabs = speech_model(bundle, 64).slabs.slabs
    prefault.await_all()
    for buffer in slabs.values():
        slab = buffer.read()
        first = -(-slab.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = (slab.ctypes.data + slab.nbytes - first) // mmap.PAGESIZE
        resident = (ctypes.c_ubyte * pages)()
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(first), ctypes.c_size_t(pages * mmap.PAGESIZE), resident) == 0
        assert all(page & 1 for page in resident)
