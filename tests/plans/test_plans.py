"""TensorRT's plans of the shipped voice behind the device layer, over a device and a TensorRT in plain Python: which
buffers a plan's tensors are, what is updated in place, and when a plan may serve."""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from engines.errors import BundleError, EngineFault
from engines.families.base import Sampling
from engines.families.common.device_form import DeviceForm
from engines.families.phone_pointer.bundle import load_bundle
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.families.phone_pointer.self_test import self_test
from engines.runtime.ort import ort
from engines.runtime.tensorrt import PLANS, TensorRt
from engines.runtime.tensorrt_build import build
from models import tensorrt_plans
from models.gpu_graphs.building import DeviceGraph
from tests.dry_cuda.fake_device import FakeDevice
from tests.plans.fake_tensorrt import FakeTensorRt

if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the plans' operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)
BUNDLE = load_bundle(Path("flite"))
SLOTS, GREEDY = 3, Sampling()


@cache
def built() -> Path:
    """A GPU form with plans."""
    out, seen = Path(tempfile.mkdtemp(prefix="plans-")), []
    tensorrt_plans.write(
        BUNDLE, out, FakeTensorRt(FakeDevice()), (9, 0), lambda phase, share: seen.append((phase, share))
    )
    assert [one for one in seen if one[0] == "lm: Building"] == [
        ("lm: Building", share) for share in (0.0, 0.5, 1.0, 1.0)
    ]
    return out


def backend(folder: Path | None = None) -> TensorRt:
    device = FakeDevice()
    return TensorRt((folder or built()) / "tensorrt", device, trt=FakeTensorRt(device))


def form(folder: Path | None = None) -> DeviceForm:
    return DeviceForm.load(folder or built(), BUNDLE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """To be spoilt."""
    return Path(shutil.copytree(built(), tmp_path / "form"))


def test_the_plans_pass_the_self_test() -> None:
    assert self_test(form(), BUNDLE, backend()) is None


def test_a_graph_whose_lengths_tensorrt_drops_is_not_built(tmp_path: Path) -> None:
    """It warns while it builds, not while it parses, and what it builds is wrong."""
    graph = DeviceGraph("float16")
    ends = [graph.input(name, graph.type, ["B", 2, size, 64]) for name, size in (("q", 1), ("k", 64), ("v", 64))]
    lengths = graph.input("lengths", onnx.TensorProto.INT64, ["B"])
    graph.node("Attention", [*ends, "", "", "", lengths], graph.output("mixed", graph.type, ["B", 2, 1, 64]))
    onnx.save(graph.model("lengths"), tmp_path / "lengths.onnx")
    with pytest.raises(BundleError, match=r"would leave an input unread: Unused Input: lengths"):
        build(FakeTensorRt(FakeDevice()), tmp_path / "lengths.onnx", {}, [])


def test_goldens_lie_beside_the_plans_and_what_was_timed_is_kept() -> None:
    folder = built() / "tensorrt"
    assert (folder / "goldens.npz").read_bytes() == (built() / "goldens.npz").read_bytes()
    assert (folder / "timing.cache").read_bytes() == b"timed " * 3  # one build after the other


def test_a_plan_that_computes_otherwise_is_refused_and_told(copy: Path) -> None:
    with np.load(copy / "goldens.npz") as stored:
        goldens = dict(stored)
    goldens["lm_keys"] = goldens["lm_keys"] * 1.5
    np.savez(copy / "goldens.npz", **goldens)
    manifest = copy / "gpu.json"
    spoilt = msgspec.json.decode(manifest.read_bytes())
    spoilt["files"]["goldens.npz"] = tensorrt_plans.hashlib.sha256((copy / "goldens.npz").read_bytes()).hexdigest()
    manifest.write_bytes(msgspec.json.encode(spoilt))
    assert "the LM's keys differ from the goldens by" in str(self_test(form(copy), BUNDLE, backend(copy)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"capability": [8, 0]}, r"compute capability 8\.0, this device has 9\.0: build them here"),
        ({"tensorrt": "11.1.0"}, r"TensorRT 11\.1\.0's, this is 11\.4\.0\.106: build again"),
        ({"format": 7}, "have format 7, this version reads 1"),
        ({"colour": 1}, "names no plans"),
    ],
)
def test_plans_of_elsewhere_are_refused_by_name(copy: Path, change: dict[str, object], problem: str) -> None:
    path = copy / "tensorrt" / PLANS
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | change))
    with pytest.raises(BundleError, match=problem):
        backend(copy)


def test_a_damaged_plan_is_refused(copy: Path) -> None:
    (copy / "tensorrt/lm.plan").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"lm\.plan has not the sha256 that plans\.json gives"):
        backend(copy)


def test_a_plan_that_tensorrt_cannot_load_is_told_in_its_words(copy: Path) -> None:
    (copy / "tensorrt/lm.plan").write_bytes(b"something else")
    path = copy / "tensorrt" / PLANS
    spoilt = msgspec.json.decode(path.read_bytes())
    spoilt["files"]["lm.plan"] = tensorrt_plans.hashlib.sha256(b"something else").hexdigest()
    path.write_bytes(msgspec.json.encode(spoilt))
    with pytest.raises(BundleError, match="the magic tag does not match"):
        backend(copy).graphs(Path("decode.onnx"))


def test_a_graph_without_a_plan_is_named() -> None:
    with pytest.raises(BundleError, match=r"no plan plays durations; .* has .*decode"):
        backend().graphs(Path("durations.onnx"))


def test_more_rows_than_a_profile_has_are_refused_in_tensorrts_words() -> None:
    made = backend()
    with pytest.raises(EngineFault, match=r"takes no \w+ of shape \[513.*is not within"):
        DeviceTalker(BUNDLE, form(), made, 513)


# -- the families' parts over plans


def stepped(talker: DeviceTalker, slots: list[int], length: int, drafted: np.ndarray | None = None) -> np.ndarray:
    """Frames [B, S] of rows that tell slot and position."""
    steps = 1 if drafted is None else drafted.shape[1] + 1
    rows = np.stack([context(slot, length, steps) for slot in slots])
    keys = np.array([(slot, length) for slot in slots])
    counts, lengths = np.full(len(slots), steps), np.full(len(slots), length)
    more = None if drafted is None else drafted[:, :, None]
    made = talker.step(np.array(slots), rows, counts, lengths, [GREEDY] * len(slots), keys, more)
    return np.asarray(made.wait().frames)[:, :, 0]


def context(slot: int, length: int, steps: int) -> np.ndarray:
    rng = np.random.default_rng(slot)
    return rng.integers(BUNDLE.codes.count + 1, BUNDLE.adapter.offsets["speaker"], (20, 14))[length : length + steps]


def talker() -> DeviceTalker:
    made = DeviceTalker(BUNDLE, form(), backend(), SLOTS)
    made.warm_up()
    for slot in range(SLOTS):
        made.begin(slot, None)
    return made


def test_verification_makes_the_frames_of_decode() -> None:
    """One plan, two profiles, the same slabs: what decode wrote verification sees, and the other way round."""
    one_by_one, at_once = talker(), talker()
    wanted = np.concatenate([stepped(one_by_one, [0, 2], length) for length in range(6)], axis=1)
    first = stepped(at_once, [0, 2], 0)
    found = stepped(at_once, [0, 2], 1, wanted[:, 1:3])  # two drafts that stand, and one more
    assert np.array_equal(np.concatenate([first, found], axis=1), wanted[:, :4])
    at_once.keep(np.array([0, 2]), np.array([4, 4]), wanted[:, 3:4])
    assert np.array_equal(stepped(at_once, [0, 2], 4)[:, 0], wanted[:, 4])


def test_a_slot_between_others_keeps_its_last_frame() -> None:
    made, alone = talker(), talker()
    stepped(made, [0, 1, 2], 0)
    stepped(made, [0, 2], 1)
    stepped(alone, [1], 0)
    assert np.array_equal(stepped(made, [1], 1), stepped(alone, [1], 1))


def test_the_vocoders_state_is_written_back_to_its_slots() -> None:
    """TensorRT declares no update in place there: state goes beside and is copied inside the same capture."""

    class How:
        weights, pitch, rate_hz = (1.0, 0.0, 0.0, 0.0), 1.0, 16_000

    def sound(chunks: list[int]) -> np.ndarray:
        made = DeviceVocoder(BUNDLE, form(), backend(), SLOTS)
        made.warm_up()
        codes, done, parts = np.random.default_rng(1).integers(0, BUNDLE.codes.count, (1, sum(chunks), 1)), 0, []
        for count in chunks:
            last = np.array([done + count == sum(chunks)])
            frames = codes[:, done : done + count]
            told = made.run(np.array([1]), frames, np.array([done]), np.array([3]), [How()], last).wait()
            parts.append(told.samples[0] if hasattr(told, "samples") else told[0][0])
            done += count
        return np.concatenate(parts)

    whole = sound([8])
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(sound([2, 1, 5]), whole, atol=2e-2 * np.abs(whole).max())


def test_a_part_asks_for_the_buffers_that_the_graph_has() -> None:
    """A family binds the same names to a plan as to the graph that it plays."""
    made = backend()
    for stem in ("decode", "verify-3", "vocoder"):
        (graph,) = made.graphs(Path(f"{stem}.onnx"))
        model = onnx.load(built() / f"{stem}.onnx").graph
        assert {one.name for one in graph.inputs} == {one.name for one in model.input}
        assert {one.name for one in graph.outputs} == {one.name for one in model.output}
