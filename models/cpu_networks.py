"""The shipped voice's networks by themselves on the CPU, for tools and tests."""

from __future__ import annotations

from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import SpectrumModel, SpeechModel
from engines.runtime.kernels import AUTO
from engines.runtime.onnx_cpu import OnnxCpu


def speech_model(bundle: Bundle, slots: int, threads: int = 1, own_kernels: str = AUTO) -> SpeechModel:
    return SpeechModel(bundle, OnnxCpu(threads, own_kernels), slots)


def spectrum_model(bundle: Bundle, threads: int = 1, own_kernels: str = AUTO) -> SpectrumModel:
    return SpectrumModel(bundle, OnnxCpu(threads, own_kernels))
