"""What the doctor says of a GPU: of the pretended one, of one that no installed kernel serves, and of none."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx")

from engines.errors import ConfigError
from engines.runtime.device import DeviceFacts
from server import doctor_gpu


class Told:
    """A device that tells facts."""

    def __init__(self, capability: tuple[int, int], driver: int = 13000) -> None:
        self._facts = DeviceFacts(capability=capability, driver=driver, free_bytes=8 * 10**9, total_bytes=16 * 10**9)

    def __call__(self) -> Told:
        return self

    def facts(self) -> DeviceFacts:
        return self._facts


def found(monkeypatch: pytest.MonkeyPatch, device: object, wanted: bool = True) -> dict[str, tuple[str, str | None]]:
    monkeypatch.setattr(doctor_gpu, "has_provider", lambda: True)
    monkeypatch.setattr(doctor_gpu, "CudaDevice", device)
    monkeypatch.setattr(doctor_gpu, "version", lambda name: {"onnxruntime-gpu": "1.31.1", "tensorrt": "11.4.0"}[name])
    return {what: (text, remedy) for what, text, remedy in doctor_gpu.gpu(wanted, 2_000_000)}


def test_a_device_with_kernels_is_told_with_memory_and_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    told = found(monkeypatch, Told((9, 0)))
    assert told["GPU"] == ("compute capability 9.0, driver for CUDA 13.0, 8.0 of 16.0 GB free", None)
    assert told["GPU kernels"] == ("onnxruntime-gpu 1.31.1 has them for 9.0", None)
    assert told["GPU slots"] == ("its memory holds at least 3400", None)
    assert told["TensorRT"] == ("11.4.0; `parlando build-engine` builds its plans", None)


@pytest.mark.parametrize("capability", [(10, 0), (7, 0), (11, 0)])
def test_a_device_without_kernels_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]
) -> None:
    text, remedy = found(monkeypatch, Told(capability))["GPU kernels"]
    assert "has none for" in text
    assert "7.5, 8.0, 8.6, 8.9, 9.0, 12.0" in text
    assert remedy is not None


def test_the_weights_of_a_form_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "shared.weights").write_bytes(bytes(3_200_000))
    monkeypatch.setattr(doctor_gpu, "has_provider", lambda: True)
    monkeypatch.setattr(doctor_gpu, "CudaDevice", Told((9, 0)))
    told = {what: text for what, text, _ in doctor_gpu.gpu(True, 2_000_000, doctor_gpu.weights_bytes(tmp_path))}
    assert told["GPU slots"] == "its memory holds at least 3398, 2.0 MB each, beside 3.2 MB of weights"
    assert (doctor_gpu.weights_bytes(None), doctor_gpu.weights_bytes(tmp_path / "none")) == (0, 0)


def test_an_old_driver_is_told_with_the_one_that_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "580 or later" in str(found(monkeypatch, Told((8, 9), driver=12080))["GPU"][1])


@pytest.mark.parametrize("wanted", [True, False])
def test_no_device_is_a_fault_only_where_one_is_asked_for(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    def none() -> None:
        raise ConfigError("libcudart.so.13 cannot be loaded")

    text, remedy = found(monkeypatch, none, wanted)["GPU"]
    assert text == "none can be used"
    assert (remedy is not None) is wanted


def test_the_pretended_device_is_told(pretended: None) -> None:
    told = {what: (text, remedy) for what, text, remedy in doctor_gpu.gpu(True, 2_000_000)}
    assert told["GPU"][0].startswith("compute capability 9.0, driver for CUDA 13.0")
    assert told["GPU kernels"] == ("onnxruntime-gpu 1.31.1 has them for 9.0", None)
