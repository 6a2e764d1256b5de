"""The composition root: the one place that knows concrete families and runtimes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engines.bundle import Bundle
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine, Model
from engines.families.base import Drafter, Talker, Vocoder
from engines.families.phone_pointer.family import PointerFamily, check_draft_tolerance
from engines.families.phone_pointer.networks import SpectrumModel, SpeechModel
from engines.runtime.kernels import AUTO, OFF
from engines.runtime.onnx_cpu import OnnxCpu
from engines.scheduling.device_profile import DeviceProfile
from engines.text import FrontEnd


def load_engine(
    bundle: Bundle,
    config: EngineConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    front_end: FrontEnd | None = None,
    durations: Any = None,
    talker: Talker | None = None,
    vocoder: Vocoder | None = None,
    drafter: Drafter | None = None,
    profile: DeviceProfile | None = None,
) -> Engine:
    """An engine for this bundle. Parts that are given take the place of the bundle's own."""
    config = config or EngineConfig()
    check_draft_tolerance(config.draft_tolerance, bundle)
    host = OnnxCpu(config.lm_threads, OFF)
    backend = OnnxCpu(config.lm_threads, config.own_kernels)
    beside = OnnxCpu(config.vocoder_threads, config.own_kernels)
    family = PointerFamily(bundle, host, front_end=front_end, durations=durations, max_expanded=config.max_expanded)
    if drafter is None and config.drafts is not DraftMode.OFF and talker is None:
        drafter = family.drafter(backend, tolerance=config.draft_tolerance)
    model = Model(
        family=family,
        spec=family.spec(backend),
        talker=talker or family.talker(backend, config.slots),
        vocoder=vocoder or family.vocoder(beside, config.slots),
        drafter=drafter,
        arithmetic=backend.arithmetic,
    )
    return Engine(model, config, clock, profile)


# -- parts of the shipped voice, for tools and tests that run a network by itself --------------------------------------


def speech_model(bundle: Bundle, slots: int, threads: int = 1, own_kernels: str = AUTO) -> SpeechModel:
    return SpeechModel(bundle, OnnxCpu(threads, own_kernels), slots)


def spectrum_model(bundle: Bundle, threads: int = 1, own_kernels: str = AUTO) -> SpectrumModel:
    return SpectrumModel(bundle, OnnxCpu(threads, own_kernels))
