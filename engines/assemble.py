"""The composition root: the one place that knows concrete families and runtimes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines.config import DeviceChoice, DraftMode, EngineConfig
from engines.engine import Engine
from engines.engine_model import Model
from engines.errors import BundleError
from engines.families.added_voices import added_voices
from engines.families.base import Drafter, Family, Talker, Vocoder
from engines.families.bundle import Bundle, family_of
from engines.families.on_a_device import CudaParts, cuda_parts
from engines.families.phone_pointer.bundle import Bundle as PointerBundle
from engines.families.phone_pointer.family import PointerFamily
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.pocket.family import PocketFamily
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.families.shipped import bundle_folder
from engines.runtime.kernels import OFF
from engines.runtime.memory import slots_by_memory
from engines.runtime.onnx_cpu import OnnxCpu
from engines.scheduling.device_profile import DeviceProfile

_KINDS: dict[str, tuple[type[Bundle], Callable[..., Family]]] = {
    PointerBundle.FAMILY: (PointerBundle, PointerFamily),
    PocketBundle.FAMILY: (PocketBundle, PocketFamily),
    Qwen3TtsBundle.FAMILY: (Qwen3TtsBundle, Qwen3TtsFamily),
}


def open_bundle(folder: Path | None = None, *, checks_files: bool = True) -> Bundle:
    """By its manifest's family; a name is a shipped voice, nothing the default one. Raises BundleError."""
    folder = bundle_folder(folder)
    family = family_of(folder)
    if family not in _KINDS:
        raise BundleError(f"manifest.family is {family!r}; this version serves {', '.join(sorted(_KINDS))}")
    return _KINDS[family][0].load(folder, checks_files=checks_files)


def load_engine(
    bundle: Bundle,
    config: EngineConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    talker: Talker | None = None,
    vocoder: Vocoder | None = None,
    drafter: Drafter | None = None,
    profile: DeviceProfile | None = None,
    **of_family: Any,
) -> Engine:
    """An engine for this bundle. Parts that are given take the place of the bundle's own; `of_family`: of those that
    its family is made of."""
    config = config or EngineConfig()
    bundle.check_draft_tolerance(config.draft_tolerance)
    host = OnnxCpu(config.lm_threads, OFF)
    backend = OnnxCpu(config.lm_threads, config.own_kernels)
    beside = OnnxCpu(config.vocoder_threads, config.own_kernels)
    if isinstance(bundle, PointerBundle):
        of_family["max_expanded"] = config.max_expanded
    elif hasattr(_KINDS[bundle.family][1], "set_voice"):  # it is one that AddsVoices
        of_family["voices"] = added_voices(bundle, config.voices)[0]
    family = _KINDS[bundle.family][1](bundle, host, **of_family)
    spec = family.spec(backend)
    if drafter is None and config.drafts is not DraftMode.OFF and talker is None:
        drafter = family.drafter(backend, tolerance=config.draft_tolerance)
    found = cuda_parts(bundle, config, spec.bytes_per_slot) if talker is None and vocoder is None else None
    on_device = found if isinstance(found, CudaParts) else None
    if on_device is not None:
        # A call covers all slots, and costs nearly the same for one row as for all of them.
        rows, frames = on_device.slots, on_device.slots * spec.chunk_frames[-1]
        config = replace(config, slots=rows, max_batch=rows, draft_rows=rows, verify_rows=rows, job_frames=frames)
        talker, vocoder = on_device.talker, on_device.vocoder
    else:
        config = replace(config, slots=slots_by_memory(config.slots, spec.bytes_per_slot))
    talker = talker or family.talker(backend, config.slots)
    device = talker.device if on_device is None else on_device.device
    if isinstance(found, str) and config.device is DeviceChoice.CUDA:
        device += f", not cuda: {found}"
    model = Model(
        family=family,
        spec=spec,
        talker=talker,
        vocoder=vocoder or family.vocoder(beside, config.slots),
        drafter=drafter,
        arithmetic=backend.arithmetic if on_device is None else on_device.arithmetic,
        device=device,
        awaits=on_device is not None,
        why_no_gpu=found if isinstance(found, str) else None,
    )
    return Engine(model, config, clock, profile)
