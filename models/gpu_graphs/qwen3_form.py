"""The GPU form of a Qwen3-TTS bundle: a frame, a block of prompt and a frame's samples, each one graph."""

from __future__ import annotations

import onnx

from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.device_parts import spoken
from models.gpu_graphs.attention import Attend
from models.gpu_graphs.host import goldens
from models.gpu_graphs.lowering import Lowered
from models.gpu_graphs.qwen3 import frame, prefill
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from models.gpu_graphs.writing import Form

PREFILL = 32  # positions of a call


def form(bundle: Bundle, dtype: str) -> Form:
    weights, held = Qwen3Weights.of(bundle), positions(bundle)
    heads = weights.predictor.heads
    slab = (2 * len(weights.predictor.layers) * heads.kv_heads, weights.codebooks, heads.head_dim)
    numbers = {"positions": held, "prefill": PREFILL, "inner_slab": slab}
    exact = _graphs(bundle, weights, "float32", held)
    return Form(
        graphs=exact if dtype == "float32" else _graphs(bundle, weights, dtype, held),
        goldens=goldens(exact, lambda form, host: spoken(form, bundle, host), **numbers),
        dtype=dtype,
        positions=held,
        numbers={"prefill": PREFILL, "inner_slab": slab},
    )


def positions(bundle: Bundle) -> int:
    """Of a slot, the filling of a prompt's last block included."""
    return bundle.qwen3_tts.talker.positions + PREFILL


def _graphs(bundle: Bundle, weights: Qwen3Weights, dtype: str, held: int) -> dict[str, onnx.ModelProto]:
    attend = Attend.CAUSAL if dtype == "float32" else Attend.GROUPED
    return {
        "frame": frame(weights, dtype, held, attend),
        "prefill": prefill(weights, dtype, held, PREFILL, attend),
        "vocoder": vocoder(bundle),
    }


def vocoder(bundle: Bundle) -> onnx.ModelProto:
    """In float32: the sine of its activations needs it, and samples then are those of the whole to 1e-5."""
    part = bundle.qwen3_tts.vocoder
    graph = Lowered(bundle.folder / part.file, {})
    graph.state_by_slot([one.name for one in part.states])
    graph.sum_of("samples", "scores")
    return graph.model("qwen3_tts vocoder")
