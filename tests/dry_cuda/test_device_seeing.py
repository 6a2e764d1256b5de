"""A vocoder that sees the text, on the emulated device: it hears what it is shown, and chunks and neighbours change
nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.families.base import Frames
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.families.phone_pointer.inputs import frames_of
from engines.families.phone_pointer.script import VoiceControls
from engines.families.phone_pointer.self_test import self_test
from engines.runtime.base import FloatArray
from engines.runtime.onnx_cuda import OnnxCuda
from tests.dry_cuda.log import Log
from tests.dry_cuda.voice import GREEDY, emulation, form_of

FOLDER = Path(os.environ.get("DRY_BUNDLES", "/nowhere")) / "seeing"
if not FOLDER.exists():
    pytest.skip("no torch was at hand to write the bundle with", allow_module_level=True)
FRAMES = np.random.default_rng(5).integers(0, 900, (2, 11, 11))


@pytest.fixture(autouse=True)
def _emulated(log: Log) -> Iterator[None]:
    emulation().failures.clear()
    yield
    assert not emulation().failures


@cache
def bundle() -> Bundle:
    return load_bundle(FOLDER)


@cache
def vocoder() -> DeviceVocoder:
    emulation()
    made = DeviceVocoder(bundle(), form_of(bundle(), "float16"), OnnxCuda(), 4)
    made.warm_up()
    return made


def spoken(frames: Frames, slots: list[int], sizes: list[int]) -> list[FloatArray]:
    """frames [B, N, W] in jobs of these sizes."""
    pieces: list[list[FloatArray]] = [[] for _ in slots]
    rows, first, total = len(slots), 0, sum(sizes)
    for size in sizes:
        sound = vocoder().run(
            np.array(slots),
            frames[:, first : first + size],
            np.full(rows, first),
            np.arange(rows),
            [VoiceControls((1.0, 0.0), 1.0, 16_000)] * rows,
            np.full(rows, first + size == total),
        )
        for piece, samples in zip(pieces, sound.wait().samples, strict=True):
            piece.append(samples)
        first += size
    return [np.concatenate(piece) for piece in pieces]


def test_the_device_passes_its_self_test() -> None:
    assert bundle().frame_width == FRAMES.shape[2]
    assert self_test(form_of(bundle(), "float16"), bundle(), OnnxCuda()) is None


def test_what_is_seen_is_heard_in_any_chunks_and_beside_others() -> None:
    (alone,) = spoken(FRAMES[:1], [0], [11])
    blind = FRAMES.copy()
    blind[..., 1:] = 0
    assert not np.array_equal(spoken(blind[:1], [0], [11])[0], alone)
    for sizes in ([1] * 11, [2, 5, 4]):
        assert np.array_equal(spoken(FRAMES, [2, 1], sizes)[0], alone)


def test_a_step_brings_what_its_place_shows() -> None:
    emulation()
    made = DeviceTalker(bundle(), form_of(bundle(), "float16"), OnnxCuda(), 4)
    made.warm_up()
    offsets = bundle().adapter.offsets
    rows = np.random.default_rng(2).integers(offsets["phones"], offsets["following"], (2, 5, 14))
    slots, keys, lengths = np.array([3, 1]), np.zeros((2, 2), np.int64), np.zeros(2, np.int64)
    for slot in slots.tolist():
        made.begin(slot, None)
    one = made.step(slots, rows[:, :1], np.ones(2, np.int64), lengths, [GREEDY] * 2, keys, None).wait()
    assert np.array_equal(one.frames, frames_of(bundle(), one.frames[..., 0], rows[:, :1]))
    drafted = frames_of(bundle(), np.zeros((2, 4), np.int64), rows[:, :4])
    several = made.step(slots, rows, np.array([5, 3]), lengths, [GREEDY] * 2, keys, drafted).wait()
    assert several.frames.shape == (2, 5, 11)
    assert np.array_equal(several.frames[0], frames_of(bundle(), several.frames[0, :, 0], rows[0]))
