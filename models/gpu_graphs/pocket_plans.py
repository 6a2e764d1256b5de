"""What TensorRT builds of pocket-tts: a frame, a block of text and a frame's samples."""

from __future__ import annotations

from collections.abc import Callable

from engines.families.pocket.bundle import Bundle
from engines.runtime.tensorrt import Part
from models.gpu_graphs.planned import MOST_ROWS, Planned
from models.gpu_graphs.pocket_form import decoder, positions, prefill, step
from models.gpu_graphs.standard import in_standard_operators


def plans(bundle: Bundle, dtype: str) -> dict[str, Callable[[], Planned]]:
    held = positions(bundle)
    return {
        "step": lambda: Planned(
            model=in_standard_operators(step(bundle, dtype, held, masked=True)),
            profiles=({"B": (1, 16, MOST_ROWS)},),
            parts={"step": Part(plan="step.plan")},
            decomposable=True,
        ),
        "prefill": lambda: Planned(
            model=in_standard_operators(prefill(bundle, dtype, held, masked=True)),
            profiles=(),
            parts={"prefill": Part(plan="prefill.plan")},
        ),
        "decoder": lambda: Planned(
            model=in_standard_operators(decoder(bundle)),
            profiles=({"B": (1, 16, MOST_ROWS), "slots_held": (2, 65, MOST_ROWS + 1)},),
            parts={"decoder": Part(plan="decoder.plan")},
        ),
    }
