"""What TensorRT builds of Qwen3-TTS: a frame (the talker's step, the predictor's dependent steps and all sampling), a
block of prompt, and a frame's samples. Attention is under a mask and all operators are standard."""

from __future__ import annotations

from collections.abc import Callable

from engines.families.common.randomness import tables
from engines.families.qwen3_tts.bundle import Bundle
from engines.runtime.tensorrt import Part
from models.gpu_graphs.attention import Attend
from models.gpu_graphs.planned import MOST_ROWS, Planned
from models.gpu_graphs.qwen3 import frame, prefill
from models.gpu_graphs.qwen3_form import PREFILL, positions, vocoder
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from models.gpu_graphs.standard import in_standard_operators


def plans(bundle: Bundle, dtype: str) -> dict[str, Callable[[], Planned]]:
    """The weights are read for each: they are large, and a builder wants memory too."""
    return {
        "frame": lambda: frame_plan(Qwen3Weights.of(bundle), dtype, positions(bundle)),
        "prefill": lambda: prefill_plan(Qwen3Weights.of(bundle), dtype, positions(bundle)),
        "vocoder": lambda: vocoder_plan(bundle),
    }


def frame_plan(weights: Qwen3Weights, dtype: str, held: int) -> Planned:
    noise = len(tables()[1])
    return Planned(
        model=in_standard_operators(frame(weights, dtype, held, Attend.MASKED)),
        profiles=({"B": (1, 16, MOST_ROWS), "N": (noise, noise, noise)},),
        parts={"frame": Part(plan="frame.plan")},
    )


def prefill_plan(weights: Qwen3Weights, dtype: str, held: int) -> Planned:
    """A call has one row; a profile of one row alone is known to fail in the builder."""
    return Planned(
        model=in_standard_operators(prefill(weights, dtype, held, PREFILL, Attend.MASKED)),
        profiles=({"B": (1, 1, 2)},),
        parts={"prefill": Part(plan="prefill.plan")},
    )


def vocoder_plan(bundle: Bundle) -> Planned:
    """In float32, as on every device. Its state is by slot, and one more for rows that fill up a call."""
    return Planned(
        model=in_standard_operators(vocoder(bundle)),
        profiles=({"B": (1, 8, MOST_ROWS), "slots_held": (2, 65, MOST_ROWS + 1)},),
        parts={"vocoder": Part(plan="vocoder.plan")},
    )
