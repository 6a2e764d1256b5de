"""TensorRT's plans of Qwen3-TTS over a device and a TensorRT in plain Python: built, loaded, tested by their goldens,
spoken with; and every reason for which none is built."""

from __future__ import annotations

import errno
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.errors import BundleError, EngineFault
from engines.families import on_a_device
from engines.families.bundle import Bundle as AnyBundle
from engines.families.common.device_form import DeviceForm
from engines.families.qwen3_tts import device_parts as parts
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.script import DepthSampling
from engines.runtime.ort import ort
from engines.runtime.tensorrt import PLANS, TensorRt
from engines.synth import speak
from models import tensorrt_plans
from models.gpu_graphs.__main__ import export
from tests.dry_cuda.fake_device import FakeDevice
from tests.plans.fake_tensorrt import FakeTensorRt

if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the plans' operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)
SLOTS, STEPS = 3, 5


def write(bundle: AnyBundle, out: Path, dtype: str | None = None) -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    tensorrt_plans.write(
        bundle, out, FakeTensorRt(FakeDevice()), (9, 0), lambda phase, share: told.append((phase, share)), dtype
    )
    return told


@pytest.fixture(scope="module")
def built(qwen3_tts: AnyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPU form with plans."""
    out = tmp_path_factory.mktemp("plans") / "form"
    told = write(qwen3_tts, out)
    assert [phase for phase, share in told if share == 0] == [
        f"{name}: Building" for name in ("frame", "prefill", "vocoder")
    ]
    return out


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """To be spoilt."""
    return Path(shutil.copytree(built, tmp_path / "form"))


def backend(folder: Path) -> TensorRt:
    device = FakeDevice()
    return TensorRt(folder / "tensorrt", device, trt=FakeTensorRt(device))


def talker(bundle: AnyBundle, folder: Path, slots: int = SLOTS) -> Any:
    made = parts.talker(bundle, DeviceForm.load(folder, bundle), backend(folder), slots)  # type: ignore[arg-type]
    made.warm_up()
    return made


# -- what is built


def test_plans_goldens_and_timings_lie_side_by_side(built: Path) -> None:
    folder = built / "tensorrt"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.plan" for name in ("frame", "prefill", "vocoder")),
        "goldens.npz",
        "plans.json",
        "timing.cache",
    }
    assert (folder / "goldens.npz").read_bytes() == (built / "goldens.npz").read_bytes()
    assert (folder / "timing.cache").read_bytes() == b"timed " * 3


def test_a_family_binds_what_it_binds_to_the_graphs(built: Path) -> None:
    """But the memory of the predictor's steps, which a plan makes itself."""
    made = backend(built)
    for stem in ("frame", "prefill", "vocoder"):
        (graph,) = made.graphs(Path(f"{stem}.onnx"))
        model = onnx.load(built / f"{stem}.onnx").graph
        extra = {one.name for one in model.input} - {one.name for one in graph.inputs}
        assert extra <= {"inner_slabs", "inner_at1"}
        assert {one.name for one in graph.inputs} <= {one.name for one in model.input}
        assert {one.name for one in graph.outputs} == {one.name for one in model.output}


def test_a_form_that_is_written_again_has_no_plans(qwen3_tts: AnyBundle, copy: Path) -> None:
    export(qwen3_tts, copy, "float16")
    assert not (copy / "tensorrt" / PLANS).exists()


# -- what they say


def test_the_plans_pass_the_self_test(qwen3_tts: Any, built: Path) -> None:
    assert parts.self_test(DeviceForm.load(built, qwen3_tts), qwen3_tts, backend(built)) is None


def steps(made: Any, bundle: Any, slots: list[int], count: int = STEPS) -> np.ndarray:
    """Frames [B, STEPS, Q] behind a prompt that a slot's number chooses; drawn, and each read back."""
    part = bundle.qwen3_tts.talker
    how = DepthSampling(temperature=0.8, top_k=20, inner_temperature=0.8, inner_top_k=20, inner_top_p=1.0)
    rows = np.full((len(slots), 1, 1 + part.codebooks), part.nothing)
    rows[:, 0, 1] = part.follow
    for slot in slots:
        rng, length = np.random.default_rng(slot), 5 + 30 * slot
        made.begin(slot, VoicePrefix(key=None, rows=rows[0, :0]))
        ids = rng.integers(0, 400, (length, 1))
        codes = rng.integers(0, part.codes, (length, part.codebooks)) + part.starts
        prompt = np.concatenate([ids, codes], axis=1)
        assert made.prefill(np.array([slot]), prompt, np.array([0, length]), np.array([0])).wait().all()
    found, every = [], np.array(slots)
    for step in range(count):
        rows[:, 0, 0] = 7 + step
        keys = np.stack([every, every * 0 + step], axis=1)
        lengths = 5 + 30 * every + step
        told = made.step(every, rows, every * 0 + 1, lengths, [how] * len(slots), keys, None).wait()
        assert told.is_finite.all()
        found.append(told.frames[:, 0])
    return np.stack(found, axis=1)


def test_neighbours_and_earlier_streams_change_no_frame(qwen3_tts: Any, built: Path) -> None:
    """Slots of one, two and three blocks of prompt, together and alone, and again in slots that were used."""
    made = talker(qwen3_tts, built)
    together = steps(made, qwen3_tts, [0, 1, 2])
    assert len(np.unique(together.reshape(-1, together.shape[2]), axis=0)) > STEPS
    for slot in range(SLOTS):
        assert np.array_equal(steps(made, qwen3_tts, [slot])[0], together[slot]), slot
    assert np.array_equal(steps(talker(qwen3_tts, built), qwen3_tts, [1])[0], together[1])


def test_one_context_serves_every_row_of_a_prompt(qwen3_tts: Any, built: Path) -> None:
    """Its captures differ in addresses alone, and all calls work in the same memory."""
    made = talker(qwen3_tts, built)
    contexts = {id(call._context) for call in made._prefills}
    assert len(contexts) == 1 < len(made._prefills)
    assert {id(call.graph.workspace()) for call in (*made._prefills, *made._frames.values())} == {
        id(made._backend.workspace)
    }


def test_streamed_samples_are_those_of_one_job(qwen3_tts: Any, built: Path) -> None:
    rng, part = np.random.default_rng(4), qwen3_tts.qwen3_tts.talker
    frames = rng.integers(0, part.codes, (2, 9, part.codebooks))

    def sound(sizes: list[int]) -> list[np.ndarray]:
        made = parts.vocoder(qwen3_tts, DeviceForm.load(built, qwen3_tts), backend(built), SLOTS)
        made.warm_up()
        slots, start, pieces = np.array([2, 0]), 0, []
        for size in sizes:
            first, last = slots * 0 + start, np.full(2, start + size == frames.shape[1])
            told = made.run(slots, frames[:, start : start + size], first, slots, [24_000] * 2, last).wait()
            pieces.append(told.samples)
            start += size
        return [np.concatenate(row) for row in zip(*pieces, strict=True)]

    for whole, streamed in zip(sound([9]), sound([1, 4, 2, 2]), strict=True):
        assert np.abs(whole).max() > 0.01
        np.testing.assert_allclose(streamed, whole, atol=1e-5 * np.abs(whole).max())


def test_more_rows_than_the_profile_has_are_refused_in_tensorrts_words(qwen3_tts: Any, built: Path) -> None:
    with pytest.raises(EngineFault, match=r"frame in frame\.plan takes no \w+ of shape \[513.*is not within"):
        parts.talker(qwen3_tts, DeviceForm.load(built, qwen3_tts), backend(built), 513)


# -- which backend serves


def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    monkeypatch.setattr(
        on_a_device, "TensorRt", lambda plans, **how: TensorRt(plans, device, trt=FakeTensorRt(device), **how)
    )
    monkeypatch.setattr(on_a_device, "has_provider", lambda: False)


def config(form: Path) -> EngineConfig:
    return EngineConfig(slots=2, gpu_form=form, drafts=DraftMode.OFF, sheds=False, workers=False)


def test_plans_that_pass_serve(monkeypatch: pytest.MonkeyPatch, qwen3_tts: Any, built: Path) -> None:
    pretend(monkeypatch)
    engine = load_engine(qwen3_tts, config(built))
    assert engine.stats().kernels.startswith("TensorRT 11.4.0.106")
    assert engine.model.talker.device == "cuda:0"
    assert len(speak(engine, "Ready.").pcm) > 24_000 * 2 * 0.3
    engine.close()


def test_plans_that_differ_are_passed_over(monkeypatch: pytest.MonkeyPatch, qwen3_tts: Any, copy: Path) -> None:
    with np.load(copy / "goldens.npz") as stored:
        goldens = dict(stored)
    np.savez(copy / "goldens.npz", **goldens | {"keys": goldens["keys"] * 1.5})
    manifest = msgspec.json.decode((copy / "gpu.json").read_bytes())
    manifest["files"]["goldens.npz"] = tensorrt_plans._sha256(copy / "goldens.npz")
    (copy / "gpu.json").write_bytes(msgspec.json.encode(manifest))
    pretend(monkeypatch)
    engine = load_engine(qwen3_tts, config(copy))
    assert engine.model.talker.device == "cpu"
    assert "the model's keys differ from the goldens by" in str(engine.model.why_no_gpu)
    engine.close()


# -- why none is built


def test_a_form_in_float32_is_refused(qwen3_tts: AnyBundle, tmp_path: Path) -> None:
    export(qwen3_tts, tmp_path / "form", "float32")
    words = r"is of float32, plans are of float16 or bfloat16; write it again: parlando export-gpu .* --dtype float16"
    with pytest.raises(BundleError, match=words):
        write(qwen3_tts, tmp_path / "form")


def test_another_type_than_the_forms_is_refused(qwen3_tts: AnyBundle, built: Path) -> None:
    with pytest.raises(BundleError, match=r"is of float16, plans are of bfloat16; write it again"):
        write(qwen3_tts, built, "bfloat16")
    assert (built / "tensorrt" / PLANS).is_file()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_type_without_kernels_is_refused_before_anything_is_written(
    qwen3_tts: AnyBundle, tmp_path: Path, dtype: str
) -> None:
    with pytest.raises(BundleError, match=f"plans are of float16 or bfloat16, {dtype} was asked for"):
        write(qwen3_tts, tmp_path / "form", dtype)
    assert not (tmp_path / "form").exists()


def test_too_little_disk_is_told_before_a_graph_is_written(
    monkeypatch: pytest.MonkeyPatch, qwen3_tts: AnyBundle, copy: Path
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 10, 1000))
    with pytest.raises(BundleError, match=r"frame\.plan and its graph take 0\.0 GB, .*tensorrt has 0\.0 GB free"):
        write(qwen3_tts, copy)
    assert not (copy / "tensorrt" / PLANS).exists()


def test_what_a_build_that_broke_off_left_is_removed(qwen3_tts: AnyBundle, copy: Path) -> None:
    left = copy / "tensorrt/.graph-of-then"
    left.mkdir()
    (left / "frame.onnx").write_bytes(b"large")
    write(qwen3_tts, copy)
    assert not left.exists()


def test_a_disk_that_fills_up_is_told(monkeypatch: pytest.MonkeyPatch, qwen3_tts: AnyBundle, copy: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensorrt_plans, "save", full)
    with pytest.raises(BundleError, match=r"plans cannot be written to .*tensorrt: .*No space left on device"):
        write(qwen3_tts, copy)
    assert not (copy / "tensorrt" / PLANS).exists()


def test_a_family_without_plans_is_refused_by_name(tmp_path: Path) -> None:
    bundle: Any = SimpleNamespace(name="of others", family="orpheus")
    with pytest.raises(
        BundleError, match=r"is of family 'orpheus'; plans are built of phone_pointer, pocket, qwen3_tts"
    ):
        write(bundle, tmp_path / "form")
