"""What the doctor tells of a GPU: its driver, memory, and whether the installed packages have kernels for it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.errors import ParlandoError
from engines.runtime.cuda_session import has_provider
from engines.runtime.device import CudaDevice, DeviceFacts
from engines.runtime.device_weights import HELD
from engines.runtime.memory import slots_on_device

# Compute capabilities that the wheels hold code for, and no code that a driver could compile for others.
_COMPILED_FOR = {"1.31": ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0))}
_NEEDS_DRIVER = 13000  # of CUDA


def weights_bytes(form: Path | None) -> int:
    """That a GPU form takes of a device's memory beside its slots; 0 where there is none."""
    held = None if form is None else form / HELD
    return held.stat().st_size if held is not None and held.is_file() else 0


def gpu(wanted: bool, bytes_per_slot: int, weights: int = 0) -> Iterator[tuple[str, str, str | None]]:
    """(what, found, remedy). `wanted`: by the settings; else a GPU that cannot serve is no fault. `weights`: bytes of
    the form that is set."""
    if not has_provider():
        remedy = "pip install -r requirements/cuda.txt in a fresh environment" if wanted else None
        yield "GPU", "not looked for: this onnxruntime has no CUDA provider", remedy
        return
    try:
        facts = CudaDevice().facts()
    except ParlandoError as error:
        yield "GPU", "none can be used", str(error) if wanted else None
        return
    capability, memory = (
        _dotted(facts.capability),
        f"{facts.free_bytes / 1e9:.1f} of {facts.total_bytes / 1e9:.1f} GB free",
    )
    driver = f"driver for CUDA {facts.driver // 1000}.{facts.driver % 1000 // 10}"
    old = f"a driver for CUDA 13 (580 or later) is needed, this one is for {facts.driver // 1000}"
    yield "GPU", f"compute capability {capability}, {driver}, {memory}", None if facts.driver >= _NEEDS_DRIVER else old
    yield _kernels(facts)
    slots = slots_on_device(bytes_per_slot, facts.free_bytes - weights)
    beside = f", {bytes_per_slot / 1e6:.1f} MB each, beside {weights / 1e6:.1f} MB of weights" if weights else ""
    yield "GPU slots", f"its memory holds at least {slots}{beside}", None
    yield "TensorRT", _tensorrt(), None


def _kernels(facts: DeviceFacts) -> tuple[str, str, str | None]:
    try:
        installed = version("onnxruntime-gpu")
    except PackageNotFoundError:
        return "GPU kernels", "not known: the runtime is not of the package onnxruntime-gpu", None
    known = next((one for start, one in _COMPILED_FOR.items() if installed.startswith(start)), None)
    if known is None:
        return "GPU kernels", f"not known for onnxruntime-gpu {installed}", None
    listed, here = ", ".join(map(_dotted, known)), _dotted(facts.capability)
    if runs_on(known, facts.capability):
        return "GPU kernels", f"onnxruntime-gpu {installed} has them for {here}", None
    found = f"onnxruntime-gpu {installed} has none for {here}, only for {listed}"
    return "GPU kernels", found, "the CPU serves; a later onnxruntime-gpu may have them"


def runs_on(compiled: tuple[tuple[int, int], ...], capability: tuple[int, int]) -> bool:
    """Code for one minor version runs on later ones of the same major version."""
    return any(major == capability[0] and minor <= capability[1] for major, minor in compiled)


def _tensorrt() -> str:
    try:
        return f"{version('tensorrt')}; `parlando build-engine` builds its plans"
    except PackageNotFoundError:
        return "not installed; ONNX Runtime's CUDA provider needs none"


def _dotted(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))
