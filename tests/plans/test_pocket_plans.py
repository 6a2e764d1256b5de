"""TensorRT's plans of pocket-tts over a device and a TensorRT in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from engines.families.base import Sampling
from engines.families.bundle import Bundle as AnyBundle
from engines.families.common.device_form import DeviceForm
from engines.families.pocket import device_parts as parts
from engines.runtime.ort import ort
from engines.runtime.tensorrt import TensorRt
from models import tensorrt_plans
from models.gpu_graphs import pocket_form
from models.gpu_graphs.standard import in_standard_operators
from tests.dry_cuda.fake_device import FakeDevice
from tests.gpu_graphs.reference import session
from tests.plans.fake_tensorrt import FakeTensorRt

if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the plans' operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)
SLOTS, STEPS = 3, 4


@pytest.fixture(scope="module")
def built(pocket: AnyBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plans") / "form"
    tensorrt_plans.write(pocket, out, FakeTensorRt(FakeDevice()), (9, 0), lambda phase, share: None)
    return out


def backend(folder: Path) -> TensorRt:
    device = FakeDevice()
    return TensorRt(folder / "tensorrt", device, trt=FakeTensorRt(device))


def test_the_plans_pass_the_self_test(pocket: Any, built: Path) -> None:
    assert parts.self_test(DeviceForm.load(built, pocket), pocket, backend(built)) is None


def test_a_family_binds_what_it_binds_to_the_graphs(built: Path) -> None:
    made = backend(built)
    for stem in ("step", "prefill", "decoder"):
        (graph,) = made.graphs(Path(f"{stem}.onnx"))
        model = onnx.load(built / f"{stem}.onnx").graph
        assert {one.name for one in graph.inputs} == {one.name for one in model.input}
        assert {one.name for one in graph.outputs} == {one.name for one in model.output}


@pytest.mark.parametrize("name", ["step", "prefill"])
def test_attention_under_a_mask_is_that_of_the_device_form(pocket: Any, name: str) -> None:
    """In float32, over caches that are full of other numbers behind each row's length."""
    rng, positions, found = np.random.default_rng(2), pocket.lm.positions + 32, []
    make = getattr(pocket_form, name)
    for model in (
        make(pocket, "float32", positions),
        in_standard_operators(make(pocket, "float32", positions, masked=True)),
    ):
        made = session(model)
        if not found:
            feeds = {one.name: given(one, rng) for one in made.get_inputs()}
        found.append(made.run([one.name for one in made.get_outputs()], feeds))
    for plain, masked in zip(*found, strict=True):
        np.testing.assert_allclose(masked, plain, atol=2e-5 * float(np.abs(plain).max()))


def given(one: Any, rng: np.random.Generator) -> np.ndarray:
    shape = [3 if isinstance(length, str) else length for length in one.shape]
    if one.name == "lengths":
        return np.array([0, 9, 40][: shape[0]], np.int32)
    if one.name == "is_active":
        return np.ones(shape, np.bool_)
    return rng.integers(0, 9, shape) if "int64" in one.type else rng.standard_normal(shape).astype(np.float32)


def frames(made: Any, bundle: Any, slots: list[int]) -> np.ndarray:
    """[B, STEPS, W]: behind a text that a slot's number chooses, each frame read back."""
    every, nothing = np.array(slots), np.zeros((len(slots), 1, 0), np.int64)
    lengths = 4 + 40 * every
    for slot, length in zip(slots, lengths.tolist(), strict=True):
        ids = np.random.default_rng(slot).integers(0, bundle.text.vocabulary, (length, 1))
        made.begin(slot, None)
        made.prefill(np.array([slot]), ids, np.array([0, length]), np.array([0])).wait()
    found = []
    for step in range(STEPS):
        keys = np.stack([every, every * 0 + step], axis=1)
        how = [Sampling(temperature=0.7)] * len(slots)
        found.append(made.step(every, nothing, every * 0 + 1, lengths + step, how, keys, None).wait().frames[:, 0])
    return np.stack(found, axis=1)


def test_neighbours_change_no_frame(pocket: Any, built: Path) -> None:
    made = parts.talker(pocket, DeviceForm.load(built, pocket), backend(built), SLOTS)
    made.warm_up()
    together = frames(made, pocket, [0, 1, 2])
    assert np.isfinite(together).all()
    for slot in range(SLOTS):
        np.testing.assert_allclose(frames(made, pocket, [slot])[0], together[slot], atol=5e-3)
