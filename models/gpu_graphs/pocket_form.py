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
    held = positions(bundle)
    exact = _graphs(bundle, "float32", held)
    return Form(
        graphs=exact if dtype == "float32" else _graphs(bundle, dtype, held),
        goldens=goldens(exact, lambda form, host: spoken(form, bundle, host), positions=held, prefill=PREFILL),
        dtype=dtype,
        positions=held,
        numbers={"prefill": PREFILL},
    )


def positions(bundle: Bundle) -> int:
    """Of a slot, the filling of a text's last block included."""
    return bundle.lm.positions + PREFILL


def _graphs(bundle: Bundle, dtype: str, held: int) -> dict[str, onnx.ModelProto]:
    return {
        "step": step(bundle, dtype, held),
        "prefill": prefill(bundle, dtype, held),
        "decoder": decoder(bundle),
    }


def step(bundle: Bundle, dtype: str, held: int, *, masked: bool = False) -> onnx.ModelProto:
    """The last frame of a row that is not active stays. `masked`: as TensorRT takes it."""
    graph = Lowered(bundle.folder / "step.onnx", {"positions": held})
    _attend(graph, dtype, held, 1, masked)
    graph.keep_by_row("latent", "frames")
    return graph.model(f"pocket step {dtype}")


def prefill(bundle: Bundle, dtype: str, held: int, *, masked: bool = False) -> onnx.ModelProto:
    """A block of one row."""
    graph = Lowered(bundle.folder / "prefill.onnx", {"B": 1, "T": PREFILL, "positions": held})
    _attend(graph, dtype, held, PREFILL, masked)
    return graph.model(f"pocket prefill {dtype}")


def _attend(graph: Lowered, dtype: str, held: int, steps: int, masked: bool) -> None:
    graph.fix_total(held)
    graph.count_from_lengths(steps)
    if dtype == "float32" or masked:
        graph.write_out_attention(steps, masked=masked)
    graph.narrow(dtype)


def decoder(bundle: Bundle) -> onnx.ModelProto:
    graph = Lowered(bundle.folder / "decoder.onnx", {"F": 1, "samples": bundle.hop_length})
    graph.state_by_slot([one.name for one in bundle.decoder.states])
    graph.sum_of("pcm", "scores")
    return graph.model("pocket decoder")
