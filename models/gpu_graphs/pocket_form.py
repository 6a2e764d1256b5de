"""The GPU form of a pocket-tts bundle: a frame, a block of text and a frame's samples, each one graph."""

from __future__ import annotations

import onnx

from engines.families.pocket.bundle import Bundle
from engines.families.pocket.device_parts import spoken
from models.gpu_graphs.host import goldens
from models.gpu_graphs.lowering import Lowered
from models.gpu_graphs.writing import Form

PREFILL = 32  # positions of a call


def form(bundle: Bundle, dtype: str) -> Form:
    positions = bundle.lm.positions + PREFILL
    exact = _graphs(bundle, "float32", positions)
    return Form(
        graphs=exact if dtype == "float32" else _graphs(bundle, dtype, positions),
        goldens=goldens(exact, lambda form, host: spoken(form, bundle, host), positions=positions, prefill=PREFILL),
        dtype=dtype,
        positions=positions,
        numbers={"prefill": PREFILL},
    )


def _graphs(bundle: Bundle, dtype: str, positions: int) -> dict[str, onnx.ModelProto]:
    return {
        "step": step(bundle, dtype, positions),
        "prefill": prefill(bundle, dtype, positions),
        "decoder": decoder(bundle),
    }


def step(bundle: Bundle, dtype: str, positions: int) -> onnx.ModelProto:
    """The last frame of a row that is not active stays."""
    graph = Lowered(bundle.folder / "step.onnx", {"positions": positions})
    _attend(graph, dtype, positions, 1)
    graph.keep_by_row("latent", "frames")
    return graph.model(f"pocket step {dtype}")


def prefill(bundle: Bundle, dtype: str, positions: int) -> onnx.ModelProto:
    """A block of one row."""
    graph = Lowered(bundle.folder / "prefill.onnx", {"B": 1, "T": PREFILL, "positions": positions})
    _attend(graph, dtype, positions, PREFILL)
    return graph.model(f"pocket prefill {dtype}")


def _attend(graph: Lowered, dtype: str, positions: int, steps: int) -> None:
    graph.fix_total(positions)
    graph.count_from_lengths(steps)
    if dtype == "float32":
        graph.write_out_attention(steps)
    graph.narrow(dtype)


def decoder(bundle: Bundle) -> onnx.ModelProto:
    graph = Lowered(bundle.folder / "decoder.onnx", {"F": 1})
    graph.state_by_slot([one.name for one in bundle.decoder.states])
    graph.sum_of("pcm", "scores")
    return graph.model("pocket decoder")
