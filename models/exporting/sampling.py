"""Sampling inside a graph: temperature, top-k, top-p and one number in [0, 1) a draw, which the caller's counter gives.

A row's draw depends on its own logits and numbers alone. The number 0 draws the likeliest, so greedy rows need no other
graph.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from models.exporting.blocks import SpeechGraph


def declare_sampling(graph: SpeechGraph, prefix: str) -> None:
    for name, kind in (("temperature", TensorProto.FLOAT), ("top_k", TensorProto.INT64), ("top_p", TensorProto.FLOAT)):
        graph.input(f"{prefix}{name}", kind, ["B", 1])


def drawn(graph: SpeechGraph, logits: str, prefix: str, most: int, number: str, output: str) -> str:
    """logits [B, V], number [B, 1] -> [B] int64. At most the `most` likeliest are ever drawn."""
    at = f"{output}."
    scaled = graph.node("Div", [logits, f"{prefix}temperature"], f"{at}scaled")
    graph.node("TopK", [scaled, graph.integers(most)], [f"{at}values", f"{at}ids"], axis=-1)
    places = graph.exact(f"{at}places", np.arange(most)[None])
    within = graph.node("Less", [places, f"{prefix}top_k"], f"{at}within")
    low = graph.floats("minus_infinity", -np.inf)
    values = graph.node("Where", [within, f"{at}values", low], f"{at}kept_values")
    shares = graph.node("Softmax", [values], f"{at}shares", axis=-1)
    sums = graph.node("CumSum", [shares, graph.integers(1)], f"{at}sums")
    before = graph.node("CumSum", [shares, graph.integers(1)], f"{at}before", exclusive=1)
    kept = graph.node("Less", [before, f"{prefix}top_p"], f"{at}kept")
    kept = graph.node("And", [kept, within], f"{at}both")
    mass = graph.node("Where", [kept, sums, graph.floats("zero", 0.0)], f"{at}masses")
    mass = graph.node("ReduceMax", [mass, graph.integers(1)], f"{at}mass", keepdims=1)
    goal = graph.node("Mul", [mass, number], f"{at}goal")
    passed = graph.node(
        "Cast", [graph.node("LessOrEqual", [sums, goal], f"{at}passed")], f"{at}ones", to=TensorProto.INT64
    )
    place = graph.node("ReduceSum", [passed, graph.integers(1)], f"{at}place", keepdims=1)
    count = graph.node("Cast", [kept], f"{at}kept_ones", to=TensorProto.INT64)
    count = graph.node("ReduceSum", [count, graph.integers(1)], f"{at}count", keepdims=1)
    last = graph.node("Sub", [count, graph.integers(1)], f"{at}last")
    place = graph.node("Min", [place, last], f"{at}rank")  # rounding may pass the last one
    place = graph.node("Max", [place, graph.integers(0)], f"{at}safe_rank")  # of logits that are no numbers
    found = graph.node("GatherElements", [f"{at}ids", place], f"{at}id", axis=1)
    return graph.node("Squeeze", [found, graph.integers(1)], output)
