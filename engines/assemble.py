"""The composition root: the one place that knows concrete families and runtimes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.assemble_voices import added_voices
from engines.bundle import Bundle, family_of
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine, Model
from engines.errors import BundleError, ConfigError
from engines.families.base import Drafter, Family, OptionSpec, Talker, Vocoder
from engines.families.on_a_device import CudaParts, cuda_parts
from engines.families.phone_pointer.bundle import Bundle as PointerBundle
from engines.families.phone_pointer.bundle import default_bundle
from engines.families.phone_pointer.family import MAX_SPEED, MIN_SPEED, PointerFamily, check_draft_tolerance
from engines.families.phone_pointer.family import OPTIONS as POINTER_OPTIONS
from engines.families.phone_pointer.networks import SpectrumModel, SpeechModel
from engines.families.phone_pointer.overlap_add import RATES_HZ
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.pocket.family import OPTIONS as POCKET_OPTIONS
from engines.families.pocket.family import PocketFamily
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.families.qwen3_tts.family import options as qwen3_tts_options
from engines.runtime.kernels import AUTO, OFF
from engines.runtime.onnx_cpu import OnnxCpu
from engines.scheduling.device_profile import DeviceProfile
from engines.text import FrontEnd

_SHARE_OF_MEMORY = 0.5  # for slots; the rest is for weights, the server and the system


_KINDS: dict[str, type[Bundle]] = {one.FAMILY: one for one in (PointerBundle, PocketBundle, Qwen3TtsBundle)}


def open_bundle(folder: Path | None = None, *, checks_files: bool = True) -> Bundle:
    """By its manifest's family; without a folder the shipped voice. Raises BundleError."""
    folder = folder or default_bundle()
    family = family_of(folder)
    if family not in _KINDS:
        raise BundleError(f"manifest.family is {family!r}; this version serves {', '.join(sorted(_KINDS))}")
    return _KINDS[family].load(folder, checks_files=checks_files)


def check_tolerance(tolerance: int, bundle: Bundle) -> None:
    """Raises ConfigError where the bundle cannot keep it."""
    if isinstance(bundle, PointerBundle):
        check_draft_tolerance(tolerance, bundle)
    elif tolerance:
        raise ConfigError(f"draft_tolerance {tolerance} needs drafts, the bundle {bundle.name!r} brings none")


def options_of(bundle: Bundle) -> tuple[OptionSpec, ...]:
    """What `Submit.options` may carry."""
    if isinstance(bundle, Qwen3TtsBundle):
        return qwen3_tts_options(bundle.qwen3_tts)
    return POCKET_OPTIONS if isinstance(bundle, PocketBundle) else POINTER_OPTIONS


def spoken_rates_hz(bundle: Bundle) -> tuple[int, ...]:
    """That the vocoder speaks itself; other offered rates are resampled from one of them."""
    return (bundle.sample_rate_hz,) if isinstance(bundle, PocketBundle) else RATES_HZ


def model_speeds(bundle: Bundle) -> tuple[float, float]:
    """The least and the greatest speed that the family is asked for; what lies beyond is the server's stretching.
    pocket-tts is asked for any, and refuses all but 1 by name."""
    if isinstance(bundle, PocketBundle):
        return 0.0, math.inf
    return (MIN_SPEED, MAX_SPEED) if isinstance(bundle, PointerBundle) else (1.0, 1.0)


def times_words(bundle: Bundle) -> bool:
    """Whether the family knows when its words are spoken."""
    return isinstance(bundle, PointerBundle)


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
    check_tolerance(config.draft_tolerance, bundle)
    host = OnnxCpu(config.lm_threads, OFF)
    backend = OnnxCpu(config.lm_threads, config.own_kernels)
    beside = OnnxCpu(config.vocoder_threads, config.own_kernels)
    family: Family
    if isinstance(bundle, Qwen3TtsBundle):
        family = Qwen3TtsFamily(bundle, host, added_voices(bundle, config.voices)[0])
        config = replace(config, slots=slots_by_memory(config.slots, family.spec(backend).bytes_per_slot))
    elif isinstance(bundle, PocketBundle):
        family = PocketFamily(bundle, host, added_voices(bundle, config.voices)[0])
        config = replace(config, slots=slots_by_memory(config.slots, family.spec(backend).bytes_per_slot))
    else:
        assert isinstance(bundle, PointerBundle)
        family = PointerFamily(bundle, host, front_end=front_end, durations=durations, max_expanded=config.max_expanded)
    if drafter is None and config.drafts is not DraftMode.OFF and talker is None:
        drafter = family.drafter(backend, tolerance=config.draft_tolerance)
    arithmetic: Callable[[str], str] = backend.arithmetic
    why_not: str | None = None
    passed_over: str | None = None
    one_shape: str | None = None
    if talker is None and vocoder is None:
        match cuda_parts(bundle, config):
            case CudaParts() as parts:
                talker, vocoder, arithmetic = parts.talker, parts.vocoder, parts.arithmetic
                passed_over, one_shape = parts.passed_over, parts.one_shape
                # A call covers all slots, and costs nearly the same for one row as for all of them.
                rows = config.slots
                config = replace(
                    config,
                    max_batch=rows,
                    draft_rows=rows,
                    verify_rows=rows,
                    job_frames=rows * family.spec(backend).chunk_frames[-1],
                )
            case reason:
                why_not = reason
    model = Model(
        family=family,
        spec=family.spec(backend),
        talker=talker or family.talker(backend, config.slots),
        vocoder=vocoder or family.vocoder(beside, config.slots),
        drafter=drafter,
        arithmetic=arithmetic,
        why_no_gpu=why_not,
        passed_over=passed_over,
        one_shape=one_shape,
    )
    return Engine(model, config, clock, profile)


def slots_by_memory(wanted: int, bytes_per_slot: int) -> int:
    """As many of them as memory holds."""
    available = available_bytes()
    return wanted if available is None else max(1, min(wanted, int(_SHARE_OF_MEMORY * available / bytes_per_slot)))


def available_bytes() -> int | None:
    """None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


# -- parts of the shipped voice, for tools and tests that run a network by itself --------------------------------------


def speech_model(bundle: PointerBundle, slots: int, threads: int = 1, own_kernels: str = AUTO) -> SpeechModel:
    return SpeechModel(bundle, OnnxCpu(threads, own_kernels), slots)


def spectrum_model(bundle: PointerBundle, threads: int = 1, own_kernels: str = AUTO) -> SpectrumModel:
    return SpectrumModel(bundle, OnnxCpu(threads, own_kernels))
