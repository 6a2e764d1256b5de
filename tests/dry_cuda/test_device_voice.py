"""The laws of the shipped voice's Talker and Vocoder on the emulated device."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import numpy_helper

from engines.errors import BundleError, EngineFault
from engines.families.common.device_form import DeviceForm
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.families.phone_pointer.self_test import self_test
from engines.runtime.base import FloatArray
from engines.runtime.onnx_cuda import OnnxCuda
from tests.dry_cuda.log import Log
from tests.dry_cuda.voice import (
    BUNDLE,
    DRAWN,
    GREEDY,
    Utterance,
    decode,
    emulation,
    form,
    launched,
    read,
    rows,
    spoken_alone,
    talker,
)
from tests.dry_cuda.voice import vocoder as make_vocoder

WEIGHTS = (1.0, 0.0, 0.0, 0.0)
CODES = np.random.default_rng(5).integers(0, BUNDLE.codes.count, (3, 13))


@pytest.fixture(autouse=True)
def _emulated(log: Log) -> Iterator[None]:
    emulation().failures.clear()
    yield
    assert not emulation().failures


class How:
    """As VoiceControls."""

    def __init__(self, rate_hz: int = 16_000, pitch: float = 1.0) -> None:
        self.weights, self.pitch, self.rate_hz = WEIGHTS, pitch, rate_hz


# -- the speech model


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_neighbours_change_nothing(sampling: object) -> None:
    """Rows of other lengths join and leave; slots in between lie idle."""
    made, batch = talker(), [Utterance(slot=slot, seed=slot, sampling=sampling) for slot in (4, 0, 2)]
    for one in batch:
        made.begin(one.slot, None)
    for step in range(12):
        decode(made, [one for at, one in enumerate(batch) if (step + at) % 3 and one.length < one.steps])
    for one in batch:
        assert one.frames == spoken_alone(one, one.length)


def test_the_seed_decides_what_is_drawn() -> None:
    frames = [spoken_alone(Utterance(slot=0, seed=seed, sampling=DRAWN)) for seed in (1, 1, 2)]
    assert frames[0] == frames[1]
    assert frames[0] != frames[2]


def test_a_slot_begins_anew() -> None:
    made, first, second = talker(), Utterance(slot=1, seed=1), Utterance(slot=1, seed=2)
    for one in (first, second):
        made.begin(1, None)
        while one.length < 6:
            decode(made, [one])
        made.release(1)
    assert second.frames == spoken_alone(Utterance(slot=0, seed=2), 6)


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
@pytest.mark.parametrize("right", [0, 2, 4])
def test_a_verification_samples_what_single_steps_do(sampling: object, right: int) -> None:
    """Two rows at once; `right` of the drafted frames are, and the others are taken back."""
    made, batch = talker(), [Utterance(slot=slot, seed=slot + 7, sampling=sampling) for slot in (3, 1)]
    wanted = [spoken_alone(one) for one in batch]
    for one in batch:
        made.begin(one.slot, None)
    decode(made, batch)
    drafted = np.array([frames[1:5] for frames in wanted])
    drafted[:, right:] = (drafted[:, right:] + 1) % BUNDLE.codes.count
    steps = made.step(
        np.array([one.slot for one in batch]),
        np.stack([rows(one.steps, one.seed)[1:6] for one in batch]),
        np.full(2, 5),
        np.ones(2, np.int64),
        [one.sampling for one in batch],
        np.array([(one.seed, 1) for one in batch]),
        drafted[:, :, None],
    ).wait()
    for row, one in enumerate(batch):
        stands = steps.frames[row, : right + 1, 0].tolist()
        assert stands == wanted[row][1 : right + 2]
        one.frames += stands
    slots, lengths = np.array([one.slot for one in batch]), np.array([one.length for one in batch])
    made.keep(slots, lengths, np.array([[one.frames[-1]] for one in batch]))
    while batch[0].length < 12:
        decode(made, batch)
    assert [one.frames for one in batch] == wanted


def test_a_verification_of_few_steps_pads_by_itself() -> None:
    """Rows of one call know different numbers of steps ahead."""
    made, one = talker(), Utterance(slot=0, seed=3)
    wanted = spoken_alone(one)
    made.begin(0, None)
    decode(made, [one])
    steps = made.step(
        np.array([0]), rows(12, 3)[None, 1:6] * np.array([1, 1, 0, 0, 0])[:, None], np.array([2]), np.array([1]),
        [GREEDY], np.array([(3, 1)]), np.array([*wanted[1:2], 0, 0, 0])[None, :, None],
    ).wait()  # fmt: skip
    assert steps.frames[0, :2, 0].tolist() == wanted[1:3]


def test_a_step_beyond_the_slot_is_refused() -> None:
    """A device writes an index beyond the cache at its end, silently."""
    made, one = talker(), Utterance(slot=0, seed=3)
    one.frames = [0] * form().positions
    with pytest.raises(EngineFault, match=rf"would reach position {form().positions + 1}, a slot holds"):
        made.step(
            np.array([0]), np.zeros((1, 1, 14), np.int64), np.ones(1, np.int64), np.array([one.length]), [GREEDY],
            np.zeros((1, 2), np.int64), None,
        )  # fmt: skip


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_a_step_is_launched_before_the_last_is_read(sampling: object) -> None:
    """Of rows that join and leave, in other buckets than the step before."""
    made, batch = talker(), [Utterance(slot=slot, seed=slot, sampling=sampling) for slot in (4, 0, 2)]
    for one in batch:
        made.begin(one.slot, None)
    first, steps = batch, launched(made, batch)
    for step in range(12):
        second = [one for at, one in enumerate(batch) if (step + at) % 3]
        following = launched(made, second, behind=[one in first for one in second])
        read(steps.wait(), first)
        first, steps = second, following
    read(steps.wait(), first)
    for one in batch:
        assert one.frames == spoken_alone(one, one.length)


def test_a_slot_begins_anew_under_a_step_in_flight() -> None:
    """The step in flight is the slot's last owner's. What it writes there comes before what the new one begins with."""
    made, first, second = talker(), Utterance(slot=1, seed=1), Utterance(slot=1, seed=2)
    neighbour = Utterance(slot=3, seed=5)
    for one in (first, neighbour):
        made.begin(one.slot, None)
    for _ in range(4):
        decode(made, [first, neighbour])
    steps = launched(made, [first, neighbour])
    made.release(1)
    made.begin(1, None)
    behind = launched(made, [second])
    read(steps.wait(), [first, neighbour])
    read(behind.wait(), [second])
    for _ in range(4):
        decode(made, [second, neighbour])
    for one in (first, second, neighbour):
        assert one.frames == spoken_alone(one, one.length)


def test_no_third_step_and_no_verification_is_launched_behind_two() -> None:
    made, one = talker(), Utterance(slot=0, seed=3)
    made.begin(0, None)
    both = [launched(made, [one]), launched(made, [one], [1])]
    with pytest.raises(EngineFault, match="2 steps are in flight"):
        launched(made, [one], [2])
    read(both[0].wait(), [one])
    with pytest.raises(EngineFault, match="in flight"):
        made.keep(np.array([0]), np.array([1]), np.array([[7]]))
    read(both[1].wait(), [one])
    assert one.frames == spoken_alone(one, 2)


# -- the vocoder


def job(made: DeviceVocoder, at: int, codes: slice, how: How, last: bool, slot: int | None = None) -> FloatArray:
    frames = CODES[at : at + 1, codes, None]
    ends = np.array([last])
    slots, first = np.array([at if slot is None else slot]), np.array([codes.start])
    sound = made.run(slots, frames, first, np.array([at]), [how], ends).wait()
    assert sound.is_finite.all()
    return sound.samples[0]


def whole(at: int, how: How) -> FloatArray:
    return job(make_vocoder(1), at, slice(0, 13), how, last=True, slot=0)


@pytest.mark.parametrize("how", [How(), How(8_000), How(48_000), How(pitch=1.3)])
@pytest.mark.parametrize("cut", [1, 2, 5])
def test_streamed_samples_equal_the_whole(how: How, cut: int) -> None:
    made, pieces = make_vocoder(), []
    for first in range(0, 13, cut):
        pieces.append(job(made, 2, slice(first, min(13, first + cut)), how, last=first + cut >= 13))
    assert np.concatenate(pieces).tobytes() == whole(2, how).tobytes()


def test_what_is_open_comes_out_without_a_frame() -> None:
    made = make_vocoder()
    pieces = [job(made, 1, slice(0, 13), How(), last=False), job(made, 1, slice(13, 13), How(), last=True)]
    assert np.concatenate(pieces).tobytes() == whole(1, How()).tobytes()


def test_rows_of_a_job_are_independent() -> None:
    made, how = make_vocoder(), [How(), How(24_000), How(pitch=0.8)]
    slots, pieces = np.array([5, 0, 3]), [[], [], []]
    for first, last in ((0, 3), (3, 11), (11, 13)):
        sound = made.run(
            slots, CODES[:, first:last, None], np.full(3, first), np.arange(3), how, np.full(3, last == 13)
        ).wait()
        for row, samples in enumerate(sound.samples):
            pieces[row].append(samples)
    for row in range(3):
        assert np.concatenate(pieces[row]).tobytes() == whole(row, how[row]).tobytes()


def test_filled_up_rows_write_to_spare_slots() -> None:
    """A job of three rows runs in a bucket of four: the fourth must not touch a slot that waits."""
    made, how = make_vocoder(), How()
    first = job(made, 0, slice(0, 4), how, last=False, slot=0)
    three = np.array([1, 2, 3])
    made.run(three, CODES[:, :4, None], np.zeros(3, np.int64), three, [how] * 3, np.zeros(3, bool)).wait()
    rest = job(made, 0, slice(4, 13), how, last=True, slot=0)
    assert np.concatenate([first, rest]).tobytes() == whole(0, how).tobytes()


# -- the form


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_device_passes_its_self_test(dtype: str) -> None:
    assert self_test(form(dtype), BUNDLE, OnnxCuda()) is None


@pytest.mark.parametrize("golden", ["lm_keys", "lm_values", "vocoder_samples"])
def test_a_device_that_computes_otherwise_is_refused(tmp_path: Path, golden: str) -> None:
    shutil.copytree(form().folder, tmp_path, dirs_exist_ok=True)
    with np.load(tmp_path / "goldens.npz") as stored:
        goldens = dict(stored)
    goldens[golden] = goldens[golden] * 1.2
    np.savez(tmp_path / "goldens.npz", **goldens)
    wrong = msgspec.structs.replace(form(), folder=tmp_path)
    assert "differ from the goldens" in str(self_test(wrong, BUNDLE, OnnxCuda()))


def test_each_graph_that_serves_is_tested(tmp_path: Path) -> None:
    """The goldens are of single steps; a verification must leave the same cache."""
    shutil.copytree(form().folder, tmp_path, dirs_exist_ok=True)
    model = onnx.load(tmp_path / "verify-3.onnx")
    weights = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weights.raw_data = (1.2 * numpy_helper.to_array(weights)).astype(np.float16).tobytes()
    onnx.save(model, tmp_path / "verify-3.onnx")
    wrong = msgspec.structs.replace(form(), folder=tmp_path)
    assert "verify-3's keys differ from the goldens" in str(self_test(wrong, BUNDLE, OnnxCuda()))


def test_a_form_that_was_changed_is_refused(tmp_path: Path) -> None:
    shutil.copytree(form().folder, tmp_path, dirs_exist_ok=True)
    with (tmp_path / "decode.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"decode\.onnx has not the sha256 that gpu\.json gives"):
        DeviceForm.load(tmp_path, BUNDLE)


def test_a_folder_without_a_form_is_named() -> None:
    with pytest.raises(BundleError, match=r"is no GPU form: .*python -m models\.gpu_graphs"):
        DeviceForm.load(Path("/nowhere"), BUNDLE)
