"""What TensorRT builds of the shipped voice: the speech LM for decode, verification and prefill, drafts, vocoder."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from engines.families.common.randomness import tables
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.tensorrt import Part
from engines.runtime.tensorrt_build import Range
from models.gpu_graphs.mask_form import speech_lm
from models.gpu_graphs.planned import MOST_ROWS, Planned
from models.gpu_graphs.standard import in_standard_operators
from models.gpu_graphs.synthesis import HOPS
from models.gpu_graphs.vocoder import vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights

SPARE_POSITIONS = 10  # beyond the longest segment, for steps that are computed and taken back
_MOST_CODES = 8


def plans(bundle: Bundle, dtype: str) -> dict[str, Callable[[], Planned]]:
    found = {"lm": lambda: _lm(bundle, dtype), "vocoder": lambda: _vocoder(bundle, dtype)}
    if bundle.drafts is not None:
        sampled = bundle.folder / bundle.drafts.sampled
        found["drafts"] = lambda: Planned(
            model=in_standard_operators(onnx.load(sampled)),
            profiles=(),
            parts={"drafts-sampled": Part(plan="drafts.plan")},
        )
    return found


def _lm(bundle: Bundle, dtype: str) -> Planned:
    drafted = bundle.drafts.length if bundle.drafts else 0
    noise = len(tables()[1]) + bundle.codes.count
    whole: dict[str, Range] = {"N": (noise, noise, noise)}
    profiles: list[dict[str, Range]] = [
        {"B": (1, 32, MOST_ROWS), "S": (1, 1, 1)},
        {"B": (1, 8, MOST_ROWS), "S": (2, 2, 2) if drafted < 2 else (2, drafted + 1, drafted + 1)},
        {"B": (1, 2, 4), "S": (8, 32, 64)},
    ]
    common = {"plan": "lm.plan", "counted": ("steps",)}
    parts = {"decode": Part(**common, lengths={"S": 1}, named={"before": "last"})}
    for steps in range(2, drafted + 2):
        parts[f"verify-{steps}"] = Part(
            **common,
            profile=1,
            lengths={"S": steps},
            joined={"before": ("last", "drafted")},
            given={"is_active": 1},
            unread=("last_out",),
        )
    model = speech_lm(LmWeights.of(bundle), dtype, bundle.adapter.max_steps + SPARE_POSITIONS)
    return Planned(model=model, profiles=tuple(one | whole for one in profiles), parts=parts)


def _vocoder(bundle: Bundle, dtype: str) -> Planned:
    each, noise = bundle.frames_per_code, len(tables()[0])
    most = _MOST_CODES * each
    ranges: dict[str, Range] = {
        "R": (1, 8, MOST_ROWS),
        "F": (1, 2, _MOST_CODES),
        "N": (each, 2 * each, most),
        "M": (each + HOPS - 1, 2 * each + HOPS - 1, most + HOPS - 1),
        "slots": (2, 2 * 64, 2 * MOST_ROWS),
        "T": (noise, noise, noise),
    }
    model = in_standard_operators(vocoder(VocoderWeights.of(bundle), dtype))
    return Planned(model=model, profiles=(ranges,), parts={"vocoder": Part(plan="vocoder.plan")})
