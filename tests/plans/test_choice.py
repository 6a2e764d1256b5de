"""Which backend serves: the first that passes its self-test, of TensorRT, ONNX Runtime's CUDA provider and the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.assemble import load_engine
from engines.config import DeviceChoice, DraftMode, EngineConfig
from engines.errors import ConfigError, EngineFault
from engines.families import on_a_device
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.runtime.device import Event, Stream
from engines.runtime.tensorrt import TensorRt
from engines.synth import speak
from models import tensorrt_plans
from tests.dry_cuda.fake_device import FakeDevice
from tests.plans.fake_tensorrt import FakeTensorRt
from tests.plans.test_plans import BUNDLE, built, copy  # noqa: F401  (a fixture)


def config(form: Path | None, device: DeviceChoice = DeviceChoice.AUTO) -> EngineConfig:
    return EngineConfig(slots=2, device=device, gpu_form=form, drafts=DraftMode.OFF, sheds=False, workers=False)


def pretend(monkeypatch: pytest.MonkeyPatch, cuda: Callable[..., Any] | None, device: FakeDevice | None = None) -> None:
    """A device in plain Python for TensorRT; `cuda` in the place of ONNX Runtime's backend, or no such provider."""
    device = device or FakeDevice()
    monkeypatch.setattr(
        on_a_device, "TensorRt", lambda plans, **how: TensorRt(plans, device, trt=FakeTensorRt(device), **how)
    )
    monkeypatch.setattr(on_a_device, "has_provider", lambda: cuda is not None)
    monkeypatch.setattr(on_a_device, "OnnxCuda", cuda)


def refuses(**_: Any) -> Any:
    raise ConfigError("no CUDA-capable device is detected")


def spoil(form: Path) -> None:
    """Another golden: what a device that computes otherwise looks like."""
    with np.load(form / "goldens.npz") as stored:
        goldens = dict(stored)
    goldens["lm_values"] = goldens["lm_values"] + 1
    np.savez(form / "goldens.npz", **goldens)
    manifest = msgspec.json.decode((form / "gpu.json").read_bytes())
    digest = tensorrt_plans.hashlib.sha256((form / "goldens.npz").read_bytes()).hexdigest()
    manifest["files"]["goldens.npz"] = digest
    (form / "gpu.json").write_bytes(msgspec.json.encode(manifest))


def test_plans_that_pass_serve_and_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, refuses)
    engine = load_engine(BUNDLE, config(built()))
    assert engine.stats().kernels.startswith("TensorRT 11.4.0.106")
    assert "plans " in engine.stats().arithmetic
    assert len(speak(engine, "Ready.").pcm) > 16_000 * 2 * 0.3
    engine.close()


def test_plans_that_differ_are_passed_over_and_the_next_backend_is_tried(
    monkeypatch: pytest.MonkeyPatch,
    copy: Path,  # noqa: F811
) -> None:
    spoil(copy)
    pretend(monkeypatch, refuses)
    engine = load_engine(BUNDLE, config(copy))
    assert engine.model.talker.device == "cpu"
    printed = str(engine.model.why_no_gpu)
    assert "TensorRT: the LM's values differ from the goldens by" in printed
    assert "ONNX Runtime: no CUDA-capable device is detected" in printed
    engine.close()


def test_what_serves_tells_what_was_passed_over(
    monkeypatch: pytest.MonkeyPatch,
    copy: Path,  # noqa: F811
) -> None:
    """Here ONNX Runtime's place is taken by plans that pass."""
    device = FakeDevice()
    pretend(monkeypatch, lambda **_: TensorRt(built() / "tensorrt", device, trt=FakeTensorRt(device)))
    (copy / "tensorrt/vocoder.plan").write_bytes(b"damaged")
    engine = load_engine(BUNDLE, config(copy, DeviceChoice.CUDA))
    assert engine.stats().device.startswith("cuda:0, passed over: TensorRT: ")
    assert "vocoder.plan has not the sha256" in engine.stats().device
    engine.close()


ERRORS = [
    RuntimeError("no kernel image"),
    TypeError("factory function returned nullptr"),
    AttributeError("no such name"),
]


@pytest.mark.parametrize(
    "error", [*ERRORS, ValueError("a shape"), MemoryError("of the host"), AssertionError("a claim")]
)
def test_an_error_of_tensorrts_own_is_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(plans: Path, **_: Any) -> Any:
        raise error

    pretend(monkeypatch, None)
    monkeypatch.setattr(on_a_device, "TensorRt", fails)
    engine = load_engine(BUNDLE, config(built()))
    assert (engine.model.talker.device, engine.model.why_no_gpu) == ("cpu", f"{type(error).__name__}: {error}")
    engine.close()


class Ill(FakeDevice):
    """Takes no call any more, once it has failed."""

    failed = False

    def record(self, event: Event, stream: Stream) -> None:
        if self.failed:
            raise EngineFault("an illegal memory access was encountered (CUDA error 700)")
        super().record(event, stream)


@pytest.mark.parametrize("healthy", [True, False])
def test_a_backend_that_fails_late_gives_its_memory_back_where_the_device_works(
    monkeypatch: pytest.MonkeyPatch, healthy: bool
) -> None:
    device = Ill()

    def fails(vocoder: DeviceVocoder) -> None:
        device.failed = not healthy
        raise MemoryError("no room for the last call")

    pretend(monkeypatch, None, device)
    monkeypatch.setattr(DeviceVocoder, "warm_up", fails)
    monkeypatch.setattr(on_a_device, "_failed", [])
    engine = load_engine(BUNDLE, config(built()))
    assert engine.model.why_no_gpu == "MemoryError: no room for the last call"
    facts = device.facts()
    assert (facts.free_bytes == facts.total_bytes) == healthy
    assert len(on_a_device._failed) == (0 if healthy else 2), "to destroy them would end the process"
    engine.close()


def test_slots_follow_the_devices_memory_and_not_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.runtime.memory.available_bytes", lambda: 1)
    pretend(monkeypatch, None)
    asked = config(built())
    engine = load_engine(BUNDLE, asked)
    assert engine.config.slots == engine.stats().slots == asked.slots
    engine.close()
    device = FakeDevice()
    monkeypatch.setattr(
        "engines.runtime.memory._DEVICE_SHARE", 5.5 * engine.spec.bytes_per_slot / device.facts().total_bytes
    )
    pretend(monkeypatch, None, device)
    engine = load_engine(BUNDLE, replace(asked, slots=64))
    assert engine.config.slots == engine.config.max_batch == 5
    assert len(speak(engine, "Ready.").pcm) > 16_000 * 2 * 0.3
    engine.close()


@pytest.mark.parametrize("device", list(DeviceChoice))
def test_a_machine_without_a_gpu_loads_nothing_of_one(monkeypatch: pytest.MonkeyPatch, device: DeviceChoice) -> None:
    def touched(*_: object) -> Any:
        raise AssertionError("a library of a GPU was looked for")

    monkeypatch.setattr("engines.runtime.device.load_libraries", touched)
    monkeypatch.setattr("engines.runtime.tensorrt.tensorrt", touched)
    monkeypatch.setattr(on_a_device, "has_provider", lambda: False)
    engine = load_engine(BUNDLE, config(None, device))
    assert engine.model.talker.device == "cpu"
    assert "tensorrt" not in sys.modules
    engine.close()
