"""The shipped voice's parts on a CUDA device, or why they do not serve here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engines.config import DeviceChoice, EngineConfig
from engines.errors import ParlandoError
from engines.families.base import Talker, Vocoder
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_form import DeviceForm, self_test
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.runtime.onnx_cuda import OnnxCuda, has_provider


class CudaParts(NamedTuple):
    talker: Talker
    vocoder: Vocoder
    arithmetic: Callable[[str], str]


def cuda_parts(bundle: Bundle, config: EngineConfig) -> CudaParts | str:
    """Tested and captured in this thread, which must be the engine's; or a reason in plain words."""
    if config.device is DeviceChoice.CPU:
        return "the device is set to cpu"
    if not has_provider():
        return "this onnxruntime has no CUDA provider; `pip install -r requirements/cuda.txt` in a fresh environment"
    if config.gpu_form is None:
        return "no GPU form is set; `parlando export-gpu OUT` writes one, gpu_form names it"
    try:
        form = DeviceForm.load(config.gpu_form, bundle)
        backend = OnnxCuda()
        if reason := self_test(form, bundle, backend):
            return reason
        talker = DeviceTalker(bundle, form, backend, config.slots)
        vocoder = DeviceVocoder(bundle, form, OnnxCuda(), config.slots)
        talker.warm_up()
        vocoder.warm_up()
    except ParlandoError as error:
        return str(error)
    return CudaParts(talker, vocoder, backend.arithmetic)
