"""A bundle's parts on a CUDA device, or why they do not serve here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from engines.config import DeviceChoice, EngineConfig
from engines.errors import ParlandoError
from engines.families.base import Talker, Vocoder
from engines.families.common.device_form import DeviceForm
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from engines.runtime.cuda_session import has_provider
from engines.runtime.memory import slots_on_device
from engines.runtime.onnx_cuda import OnnxCuda
from engines.runtime.tensorrt import PLANS, TensorRt

_failed: list[OnnxCuda] = []  # whose device takes no calls any more


class CudaParts(NamedTuple):
    talker: Talker
    vocoder: Vocoder
    arithmetic: Callable[[str], str]
    slots: int  # that the device's memory holds, of those asked for
    remarks: tuple[str, ...] = ()  # what it costs to be deterministic, and why a quicker backend does not serve

    @property
    def device(self) -> str:
        return ", ".join([self.talker.device, *self.remarks])


class _Costs(Protocol):
    cost: float  # deterministic: times the smallest bucket's time; 1 otherwise


class _DeviceTalker(_Costs, Talker, Protocol): ...


class _DeviceVocoder(_Costs, Vocoder, Protocol): ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Makers:
    """How a family's parts are made of (bundle, form, backend, slots), and how the device is tested first."""

    self_test: Callable[[DeviceForm, Any, OnnxCuda], str | None]
    talker: Callable[[Any, DeviceForm, OnnxCuda, int], _DeviceTalker]
    vocoder: Callable[[Any, DeviceForm, OnnxCuda, int], _DeviceVocoder]


def _makers_of(bundle: Any) -> _Makers:
    """Imported here: a start without a GPU needs none of them."""
    if isinstance(bundle, Qwen3TtsBundle):
        from engines.families.qwen3_tts import device_parts as qwen3_tts

        return _Makers(self_test=qwen3_tts.self_test, talker=qwen3_tts.talker, vocoder=qwen3_tts.vocoder)
    if isinstance(bundle, PocketBundle):
        from engines.families.pocket import device_parts as pocket

        return _Makers(self_test=pocket.self_test, talker=pocket.talker, vocoder=pocket.vocoder)
    from engines.families.phone_pointer.device_talker import DeviceTalker
    from engines.families.phone_pointer.device_vocoder import DeviceVocoder
    from engines.families.phone_pointer.self_test import self_test

    return _Makers(self_test=self_test, talker=DeviceTalker, vocoder=DeviceVocoder)


def cuda_parts(bundle: Any, config: EngineConfig, bytes_per_slot: int) -> CudaParts | str:
    """Of the first of TensorRT and ONNX Runtime that passes its self-test; or a reason in plain words. Tested and
    captured in this thread, which must be the engine's. `bytes_per_slot`: at most."""
    if config.device is DeviceChoice.CPU:
        return "the device is set to cpu"
    backends = _backends(config)
    if not backends:
        return "this onnxruntime has no CUDA provider; `pip install -r requirements/cuda.txt` in a fresh environment"
    if config.gpu_form is None:
        return "no GPU form is set; `parlando export-gpu OUT` writes one, gpu_form names it"
    reasons: list[str] = []
    for name, make in backends.items():
        match _tried(make, bundle, config.gpu_form, config.slots, bytes_per_slot):
            case CudaParts() as parts:
                passed_over = [f"passed over: {'; '.join(reasons)}"] if reasons else []
                return parts._replace(remarks=(*parts.remarks, *passed_over))
            case reason:
                reasons.append(f"{name}: {reason}" if len(backends) > 1 else reason)
    return "; ".join(reasons)


def _backends(config: EngineConfig) -> dict[str, Callable[[], OnnxCuda]]:
    """The quickest first. A machine with neither plans nor the CUDA provider loads no library of a GPU."""
    found: dict[str, Callable[[], OnnxCuda]] = {}
    form, deterministic = config.gpu_form, config.deterministic
    if form is not None and (form / "tensorrt" / PLANS).is_file():
        plans = form / "tensorrt"
        found["TensorRT"] = lambda: TensorRt(plans, deterministic=deterministic)
    if has_provider():
        found["ONNX Runtime"] = lambda: OnnxCuda(deterministic=deterministic)
    return found


def _tried(
    make: Callable[[], OnnxCuda], bundle: Any, folder: Path, wanted: int, bytes_per_slot: int
) -> CudaParts | str:
    backends: list[OnnxCuda] = []

    def backend() -> OnnxCuda:
        backends.append(make())
        return backends[-1]

    found = _made(backend, bundle, folder, wanted, bytes_per_slot)
    for one in backends:
        if isinstance(found, CudaParts):
            one.trust()
        elif not one.give_back():
            _failed.append(one)
    return found


def _made(
    backend: Callable[[], OnnxCuda], bundle: Any, folder: Path, wanted: int, bytes_per_slot: int
) -> CudaParts | str:
    makers = _makers_of(bundle)
    try:
        form, of_talker = DeviceForm.load(folder, bundle), backend()
        slots = min(wanted, slots_on_device(bytes_per_slot, of_talker.free_bytes - form.weights_bytes))
        if reason := makers.self_test(form, bundle, of_talker):
            return reason
        talker = makers.talker(bundle, form, of_talker, slots)
        vocoder = makers.vocoder(bundle, form, backend(), slots)
        talker.warm_up()
        vocoder.warm_up()
    except ParlandoError as error:
        return str(error)
    except Exception as error:  # of TensorRT's Python layer, of ONNX Runtime's: the CPU serves, whatever it is
        return f"{type(error).__name__}: {error}"
    made = CudaParts(talker, vocoder, of_talker.arithmetic, slots)
    if not of_talker.deterministic:
        return made
    costs = f"a step takes {talker.cost:.2g}, a vocoder's call {vocoder.cost:.2g} times the smallest bucket's time"
    return made._replace(remarks=(f"deterministic: {costs}",))
