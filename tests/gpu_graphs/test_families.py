"""The GPU forms of Qwen3-TTS and pocket-tts against the bundles they are made from, on the CPU provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.families.base import Sampling
from engines.families.bundle import Bundle as AnyBundle
from engines.families.common.device_form import DeviceForm
from engines.families.pocket import device_parts as pocket_parts
from engines.families.pocket.talker import PocketTalker
from engines.families.pocket.vocoder import PocketVocoder
from engines.families.qwen3_tts import device_parts as qwen3_parts
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.script import DepthSampling
from engines.families.qwen3_tts.talker import Qwen3TtsTalker
from engines.families.qwen3_tts.vocoder import Qwen3TtsVocoder
from engines.runtime.onnx_cpu import OnnxCpu
from engines.runtime.ort import ort
from models.exporting.pocket import int8
from models.gpu_graphs.__main__ import export
from models.gpu_graphs.attention import Attend
from models.gpu_graphs.host import HostDevice
from models.gpu_graphs.qwen3 import frame
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from tests.gpu_graphs.checkpoints import write_pocket

if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the GPU form's operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)

ROWS, STEPS = 3, 6
SLOTS, LENGTHS = np.array([2, 0, 3]), np.array([9, 40, 4])
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
WITHIN = 1e-5


def form_of(bundle: AnyBundle, folder: Path, dtype: str = "float32") -> DeviceForm:
    export(bundle, folder, dtype)
    return DeviceForm.load(folder, bundle)


def spoken(
    talker: Any, prompts: np.ndarray, rows: np.ndarray, how: list[Sampling], prefix: Any, *, swaps: bool = False
) -> np.ndarray:
    """[B, STEPS, W]: a prompt of each slot, and steps behind it. With `swaps` all slots are given away before each
    step, written over, and taken back."""
    talker.warm_up()
    for slot in SLOTS.tolist():
        talker.begin(slot, prefix)
    assert talker.prefill(SLOTS, prompts, OFFSETS, np.zeros(ROWS, np.int64)).wait().all()
    frames = []
    for step in range(STEPS):
        if swaps:
            kept = [talker.swap_out(slot) for slot in SLOTS.tolist()]
            for slot in SLOTS.tolist():
                talker.begin(slot, prefix)
            talker.prefill(SLOTS, prompts[::-1], OFFSETS, np.zeros(ROWS, np.int64)).wait()
            for slot in SLOTS.tolist():
                talker.release(slot)
            for slot, one in [*zip(SLOTS.tolist(), kept, strict=True)][::-1]:
                talker.swap_in(slot, one)
        keys = np.stack([SLOTS + 7, np.full(ROWS, step)], axis=1)
        given = np.repeat(rows[step : step + 1], ROWS, 0)[:, None]
        made = talker.step(SLOTS, given, np.ones(ROWS, np.int64), LENGTHS + step, how, keys, None).wait()
        assert made.is_finite.all()
        frames.append(np.array(made.frames[:, 0]))
    return np.stack(frames, axis=1)


def close(found: np.ndarray, wanted: np.ndarray, within: float = WITHIN) -> None:
    assert np.abs(found - wanted).max() <= within * np.abs(wanted).max(), np.abs(found - wanted).max()


# -- Qwen3-TTS


@pytest.fixture(scope="module")
def qwen3_form(qwen3_tts: AnyBundle, tmp_path_factory: pytest.TempPathFactory) -> DeviceForm:
    return form_of(qwen3_tts, tmp_path_factory.mktemp("form"))


def depth(**how: Any) -> DepthSampling:
    inner = {"inner_temperature": 0.0, "inner_top_k": 5, "inner_top_p": 1.0}
    return DepthSampling(**(inner | how))


def test_the_likeliest_frames_are_those_of_the_bundle(qwen3_tts: Any, qwen3_form: DeviceForm) -> None:
    """Behind a prompt of several blocks, each frame read back by the next step; damped, and with an end that waits."""
    part, rng = qwen3_tts.qwen3_tts.talker, np.random.default_rng(3)
    prompts = np.concatenate(
        [rng.integers(0, 400, (OFFSETS[-1], 1)), rng.integers(0, 64, (OFFSETS[-1], part.codebooks)) + part.starts], 1
    )
    rows = np.full((STEPS, 1 + part.codebooks), part.nothing)
    rows[:, 0], rows[1:, 1], rows[0, 1] = rng.integers(0, 400, STEPS), part.follow, 5
    how: list[Sampling] = [depth(), depth(repetition_penalty=1.9, min_frames=3), depth(repetition_penalty=0.6)]
    prefix = VoicePrefix(key=None, rows=prompts[:0])
    wanted = spoken(Qwen3TtsTalker(qwen3_tts, OnnxCpu(1), 4), prompts, rows, how, prefix)
    device = qwen3_parts.talker(qwen3_tts, qwen3_form, HostDevice(), 4)
    assert np.array_equal(spoken(device, prompts, rows, how, prefix), wanted)
    assert np.array_equal(spoken(device, prompts, rows, how, prefix, swaps=True), wanted)


def test_draws_follow_the_law(qwen3_tts: Any, qwen3_form: DeviceForm) -> None:
    """Over many seeds codes come as often as the bundle's own sampling draws them, and never those outside."""
    part = qwen3_tts.qwen3_tts.talker
    how = depth(temperature=0.7, top_k=8, top_p=0.8, inner_temperature=0.9)
    rows, drawn = np.full((64, 1, 1 + part.codebooks), part.nothing), {}
    rows[:, 0, :2] = 3, 5
    prefix = VoicePrefix(key=None, rows=rows[0, :0])
    for name, talker in (
        ("bundle", Qwen3TtsTalker(qwen3_tts, OnnxCpu(1), 64)),
        ("device", qwen3_parts.talker(qwen3_tts, qwen3_form, HostDevice(), 64)),
    ):
        talker.warm_up()
        slots, counts = np.arange(64), np.zeros((part.codebooks, part.vocabulary))
        for turn in range(16):
            for slot in slots.tolist():
                talker.begin(slot, prefix)
            keys = np.stack([slots + 64 * turn, slots * 0], axis=1)
            made = talker.step(slots, rows, slots * 0 + 1, slots * 0, [how] * 64, keys, None).wait()
            for book in range(2):
                counts[book] += np.bincount(made.frames[:, 0, book], minlength=part.vocabulary)
        drawn[name] = counts / 1024
    for book, most in ((0, 8), (1, 5 * 8)):
        assert set(np.flatnonzero(drawn["device"][book])) <= set(np.flatnonzero(drawn["bundle"][book])) or book
        assert 2 <= np.count_nonzero(drawn["device"][book]) <= most
        assert np.abs(drawn["device"][book] - drawn["bundle"][book]).sum() < 0.25


def test_samples_are_those_of_the_bundle(qwen3_tts: Any, qwen3_form: DeviceForm) -> None:
    """In jobs and beside others; the bundle streams whole bytes, the device to 1e-5."""
    frames = np.random.default_rng(4).integers(0, 64, (ROWS, 9, qwen3_tts.qwen3_tts.talker.codebooks))
    samples = jobs(Qwen3TtsVocoder(qwen3_tts, OnnxCpu(1), 4), frames, [9], [24_000, 8_000, 24_000])
    device = qwen3_parts.vocoder(qwen3_tts, qwen3_form, HostDevice(), 4)
    device.warm_up()
    for sizes in ([9], [1, 4, 2, 2]):
        for found, wanted in zip(jobs(device, frames, sizes, [24_000, 8_000, 24_000]), samples, strict=True):
            close(found, wanted)


def jobs(vocoder: Any, frames: np.ndarray, sizes: list[int], controls: list[Any]) -> list[np.ndarray]:
    start, pieces = 0, [[] for _ in frames]
    for size in sizes:
        last = np.full(ROWS, start + size == frames.shape[1])
        firsts = np.full(ROWS, start)
        sound = vocoder.run(SLOTS, frames[:, start : start + size], firsts, SLOTS, controls, last).wait()
        assert sound.is_finite.all()
        for row, samples in zip(pieces, sound.samples, strict=True):
            row.append(samples)
        start += size
        kept = [vocoder.swap_out(slot) for slot in SLOTS.tolist()]  # to host memory and back
        for slot, one in [*zip(SLOTS.tolist(), kept, strict=True)][::-1]:
            vocoder.swap_in(slot, one)
    return [np.concatenate(row) for row in pieces]


def test_half_precision_is_close(qwen3_tts: Any) -> None:
    """Logits of a step without a past, in the form that the CPU provider has."""
    weights = Qwen3Weights.of(qwen3_tts)
    sums = {}
    for dtype in ("float32", "float16"):
        made = frame(weights, dtype, 64, Attend.CAUSAL)
        session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        feeds = {one.name: zeros(one) for one in session.get_inputs()}
        feeds |= {"text": np.arange(ROWS), "codes": np.arange(ROWS)[:, None] + weights.starts}
        feeds["top_k"] = np.ones_like(feeds["top_k"])
        keys, values = session.run(["present_k1", "present_v1"], feeds)
        sums[dtype] = np.stack([keys, values])[:, :, :, 0].astype(np.float32)
    close(sums["float16"], sums["float32"], 5e-3)


def zeros(one: Any) -> np.ndarray:
    kind = one.type.removeprefix("tensor(").removesuffix(")")
    lengths = {"B": ROWS, "N": 1 << 12}
    shape = [lengths.get(length, length) if isinstance(length, str) else length for length in one.shape]
    return np.zeros(shape, {"float": "float32"}.get(kind, kind))


# -- pocket-tts


@pytest.fixture(scope="module")
def exact_pocket(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bundle in float: its own graphs are the float network of its weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "MOST_FRAME_ERROR", -1.0)
        patch.setattr(int8, "LEAST_DECODER_DB", np.inf)
        return write_pocket(tmp_path_factory.mktemp("exact"))


def frames_of(talker: Any, bundle: Any) -> np.ndarray:
    ids = np.random.default_rng(5).integers(0, bundle.text.vocabulary, (OFFSETS[-1], 1))
    how = [Sampling(temperature=0.7), Sampling(), Sampling(temperature=0.3)]
    return spoken(talker, ids, np.zeros((STEPS, 0), np.int64), how, None)


def test_frames_and_samples_are_those_of_the_bundle(exact_pocket: Any, tmp_path: Path) -> None:
    form = form_of(exact_pocket, tmp_path)
    device = frames_of(pocket_parts.talker(exact_pocket, form, HostDevice(), 4), exact_pocket)
    wanted = frames_of(PocketTalker(exact_pocket, OnnxCpu(1), 4), exact_pocket)
    close(device[:, 0], wanted[:, 0])
    close(device, wanted, 1e-4)  # each frame is read back
    frames = np.random.default_rng(6).standard_normal((ROWS, 9, exact_pocket.frame_width)).astype(np.float32)
    wanted = jobs(PocketVocoder(exact_pocket, OnnxCpu(1), 4), frames, [9], [None] * ROWS)
    vocoder = pocket_parts.vocoder(exact_pocket, form, HostDevice(), 4)
    vocoder.warm_up()
    for found, samples in zip(jobs(vocoder, frames, [1, 4, 2, 2], [None] * ROWS), wanted, strict=True):
        close(found, samples)


def test_int8_is_multiplied_out(pocket: Any, tmp_path: Path) -> None:
    """As close to the int8 bundle as its exporter lets int8 be to float."""
    assert "lm" in pocket.quality["int8"]
    form = form_of(pocket, tmp_path)
    device = frames_of(pocket_parts.talker(pocket, form, HostDevice(), 4), pocket)
    wanted = frames_of(PocketTalker(pocket, OnnxCpu(1), 4), pocket)
    device, wanted = device[:, 0], wanted[:, 0]  # later ones read their own back
    size = np.sqrt(np.square(device - wanted).mean() / np.square(wanted).mean())
    assert size < int8.MOST_FRAME_ERROR * 2


def test_pocket_in_half_precision_is_close(exact_pocket: Any, tmp_path: Path) -> None:
    exact, half = (
        frames_of(
            pocket_parts.talker(exact_pocket, form_of(exact_pocket, tmp_path / dtype, dtype), HostDevice(), 4),
            exact_pocket,
        )
        for dtype in ("float32", "float16")
    )
    close(half[:, 0], exact[:, 0], 5e-3)
