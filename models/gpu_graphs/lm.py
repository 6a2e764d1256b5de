"""The speech LM for a GPU: decode of one step, and verification of several, over the same slabs.

Sampling and the last frame are inside, so that the next step can be launched before this one is read. Noise is an
input: where in a table each row reads, which the host computes from (seed, position).

A row that is not active writes its cache at its true length, a place that its next step writes again, and keeps its
last frame. `scores` is a number where all logits of the row are.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import onnx
from onnx import TensorProto

from models.gpu_graphs.building import MICROSOFT, DeviceGraph
from models.gpu_graphs.weights import Array, LmLayer, LmWeights

_EPSILON = 1e-5


class Attend(Enum):
    """How a layer attends. Only GROUPED appends, rotates and attends in one operator; it has no float32 kernel on CUDA,
    and takes several steps for one row only. CAUSAL takes both."""

    GROUPED = "GroupQueryAttention"
    CAUSAL = "Attention"


def decode(
    weights: LmWeights, dtype: str, positions: int, attend: Attend = Attend.GROUPED, *, shows_logits: bool = False
) -> onnx.ModelProto:
    """context [B, R - 1] (what a step reads beside the last frame), last [B] -> frames [B]."""
    graph = DeviceGraph(dtype)
    context = graph.input("context", TensorProto.INT64, ["B", weights.features - 1])
    last = graph.input("last", TensorProto.INT64, ["B"])
    active = graph.input("is_active", TensorProto.BOOL, ["B"])
    rows = graph.node("Concat", [graph.reshape(last, [-1, 1], "last_row"), context], "rows", axis=1)
    logits = _Layers(graph, weights, positions, attend, steps=1).run(rows)
    if shows_logits:
        graph.output("logits", TensorProto.FLOAT, ["B", weights.num_codes])
    _sample(graph, logits, weights.num_codes, ["B"])
    graph.node("Where", [active, "frames", last], graph.output("last_out", TensorProto.INT64, ["B"]))
    return graph.model(f"decode {dtype} {attend.value}")


def verify(
    weights: LmWeights, dtype: str, positions: int, steps: int, *, shows_logits: bool = False
) -> onnx.ModelProto:
    """context [B, S, R - 1], last [B], drafted [B, S - 1] -> frames [B, S].

    Step s > 0 sees drafted frame s - 1 as its last; the host keeps what stands.
    """
    graph = DeviceGraph(dtype)
    context = graph.input("context", TensorProto.INT64, ["B", steps, weights.features - 1])
    last = graph.input("last", TensorProto.INT64, ["B"])
    drafted = graph.input("drafted", TensorProto.INT64, ["B", steps - 1])
    before = graph.node("Concat", [graph.reshape(last, [-1, 1], "last_row"), drafted], "before", axis=1)
    rows = graph.node("Concat", [graph.reshape(before, [0, 0, 1], "before_rows"), context], "rows", axis=2)
    logits = _Layers(graph, weights, positions, Attend.CAUSAL, steps).run(
        graph.reshape(rows, [-1, weights.features], "flat_rows")
    )
    by_step = graph.reshape(logits, [-1, steps, weights.num_codes], "logits")
    if shows_logits:
        graph.output("logits", TensorProto.FLOAT, ["B", steps, weights.num_codes])
    _sample(graph, by_step, weights.num_codes, ["B", steps])
    return graph.model(f"verify {steps} {dtype}")


def _sample(graph: DeviceGraph, logits: str, num_codes: int, shape: list[str | int]) -> None:
    """logits [B, V] or [B, S, V] -> argmax(logits / temperature + noise), noise from a table at places that the host
    gives. A greedy row has temperature 1 and a place where the table is 0."""
    temperature = graph.input("temperature", TensorProto.FLOAT, shape[:1])
    noise_at = graph.input("noise_at", TensorProto.INT64, shape)
    table = graph.input("noise_table", TensorProto.FLOAT, ["N"])
    ramp = graph.constant("ramp", np.arange(num_codes))
    by_row = graph.reshape(temperature, [0, *[1] * len(shape)], "temperature_rows")
    scaled = graph.node("Div", [logits, by_row], "scaled")
    places = graph.node("Add", [graph.reshape(noise_at, [*[0] * len(shape), 1], "noise_rows"), ramp], "noise_places")
    noisy = graph.node("Add", [scaled, graph.node("Gather", [table, places], "noise")], "noisy")
    graph.node("ArgMax", [noisy], graph.output("frames", TensorProto.INT64, shape), axis=-1, keepdims=0)
    axis = graph.constant("last_axis", np.array([-1]))
    graph.node("ReduceSum", [noisy, axis], graph.output("scores", TensorProto.FLOAT, shape), keepdims=0)


class _Layers:
    """Rows of the table to logits, [B * S, features] -> [B * S, V]; the cache is appended to on the way."""

    def __init__(self, graph: DeviceGraph, weights: LmWeights, positions: int, attend: Attend, steps: int) -> None:
        self._graph, self._weights, self._attend, self._steps = graph, weights, attend, steps
        self._slab: list[str | int] = ["B", 1, positions, weights.head_dim]
        self._lengths = graph.input("lengths", TensorProto.INT32, ["B"])
        self._cosine = graph.weight("cosine", weights.cosine[:positions])
        self._sine = graph.weight("sine", weights.sine[:positions])
        if attend is Attend.GROUPED:
            self._total = graph.constant("total", np.array([positions], np.int32))
        else:
            self._places()

    def run(self, rows: str) -> str:
        graph, weights = self._graph, self._weights
        vectors = graph.node("Gather", [graph.weight("table", weights.table), rows], "vectors")
        x = graph.node("ReduceSum", [vectors, graph.constant("middle_axis", np.array([1]))], "embedded", keepdims=0)
        h = graph.node(
            "SimplifiedLayerNormalization",
            [x, graph.weight("norm_in", weights.norm_in)],
            "normed_in",
            axis=-1,
            epsilon=_EPSILON,
            stash_type=1,
        )
        forecast = self._forecast(h)
        for at, layer in enumerate(weights.layers):
            x, h = self._layer(at, layer, x, h)
        logits = graph.node("MatMul", [h, graph.weight("to_code", weights.to_code)], "code_rows")
        own = "logits_rows" if graph.dtype != "float32" else "logits" if self._steps == 1 else "logits_flat"
        logits = graph.node("Add", [logits, forecast], own)
        return graph.to_float32(logits, "logits" if self._steps == 1 else "logits_flat")

    def _layer(self, at: int, layer: LmLayer, x: str, h: str) -> tuple[str, str]:
        """x [B * S, width] the sum so far, h normed -> both after the layer"""
        graph, name = self._graph, f"layer.{at}"
        packed = graph.node("MatMul", [h, graph.weight(f"{name}.packed", layer.packed)], f"{name}.packed_rows")
        mixed = self._attention(at, packed)
        joined = graph.node("MatMul", [mixed, graph.weight(f"{name}.out", layer.out)], f"{name}.joined")
        x, h = self._add_and_norm(joined, x, layer.mlp_norm, f"{name}.mlp")
        both = graph.node("MatMul", [h, graph.weight(f"{name}.gate_up", layer.gate_up)], f"{name}.both")
        graph.node("Split", [both], [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
        silu = graph.node("QuickGelu", [f"{name}.gate"], f"{name}.silu", domain=MICROSOFT, alpha=1.0)
        product = graph.node("Mul", [silu, f"{name}.up"], f"{name}.product")
        lowered = graph.node("MatMul", [product, graph.weight(f"{name}.down", layer.down)], f"{name}.lowered")
        return self._add_and_norm(lowered, x, layer.next_norm, f"{name}.next")

    def _add_and_norm(self, added: str, x: str, norm: Array, name: str) -> tuple[str, str]:
        normed = self._graph.node(
            "SkipSimplifiedLayerNormalization",
            [added, x, self._graph.weight(f"{name}_norm", norm)],
            [f"{name}_normed", "", "", f"{name}_sum"],
            domain=MICROSOFT,
            epsilon=_EPSILON,
        )
        return f"{name}_sum", normed

    def _attention(self, at: int, packed: str) -> str:
        graph, weights, name = self._graph, self._weights, f"layer.{at}"
        past, present = [], []
        for kind in "kv":
            past.append(graph.input(f"past_{kind}{at}", graph.type, self._slab))
            present.append(graph.output(f"present_{kind}{at}", graph.type, self._slab))
        width = weights.heads * weights.head_dim
        if self._attend is Attend.CAUSAL:
            mixed = self._causal(name, packed, past, present)
            return graph.reshape(mixed, [-1, width], f"{name}.mixed_rows")
        steps = graph.reshape(packed, [-1, 1, width + 2 * weights.head_dim], f"{name}.packed_steps")
        mixed = graph.node(
            "GroupQueryAttention",
            [steps, "", "", *past, self._lengths, self._total, self._cosine, self._sine],
            [f"{name}.mixed", *present],
            domain=MICROSOFT,
            num_heads=weights.heads,
            kv_num_heads=1,
            do_rotary=1,
            scale=1.0,
        )
        return graph.reshape(mixed, [-1, width], f"{name}.mixed_rows")

    def _causal(self, name: str, packed: str, past: list[str], present: list[str]) -> str:
        """Several steps of each row, each seeing those before it."""
        graph, weights, steps = self._graph, self._weights, self._steps
        sizes = np.array([weights.heads, 1, 1]) * weights.head_dim
        split = [f"{name}.{part}" for part in ("q", "k", "v")]
        graph.node("Split", [packed, graph.constant("packed_sizes", sizes)], split, axis=-1)
        heads = []
        for part, count in zip(split, (weights.heads, 1, 1), strict=True):
            by_step = graph.reshape(part, [-1, steps, count, weights.head_dim], f"{part}_steps")
            heads.append(graph.node("Transpose", [by_step], f"{part}_heads", perm=[0, 2, 1, 3]))
        for index in (0, 1):
            heads[index] = graph.node(
                "RotaryEmbedding", [heads[index], self._cosine, self._sine, self._positions], f"{heads[index]}_rotated"
            )
        for old, new, added in zip(past, present, heads[1:], strict=True):
            graph.node("TensorScatter", [old, added, self._write_at], new, axis=-2, mode="linear")
        mixed = graph.node(
            "Attention", [heads[0], *present, "", "", "", self._held], f"{name}.mixed_heads", is_causal=1, scale=1.0
        )
        return graph.node("Transpose", [mixed], f"{name}.mixed", perm=[0, 2, 1, 3])

    def _places(self) -> None:
        """Where each row's steps are written, and how many positions it holds then."""
        graph, steps = self._graph, self._steps
        self._write_at = graph.cast(self._lengths, TensorProto.INT64, "write_at")
        by_row = graph.reshape(self._write_at, [-1, 1], "write_rows")
        self._positions = graph.node("Add", [by_row, graph.constant("steps", np.arange(steps))], "positions")
        self._held = graph.node("Add", [self._write_at, graph.constant("step_count", np.array([steps]))], "held")

    def _forecast(self, h: str) -> str:
        """h -> [B * S, V]: what the bundle's forecast adds to the logits."""
        graph, (first, second, scores) = self._graph, self._weights.forecast
        for index, weight in enumerate((first, second)):
            name = f"forecast.{index}"
            h = graph.node("MatMul", [h, graph.weight(name, weight)], f"{name}_rows")
            h = graph.node("QuickGelu", [h], f"{name}_silu", domain=MICROSOFT, alpha=1.0)
        half = scores.shape[1] // 2
        both = graph.node("MatMul", [h, graph.weight("forecast.scores", scores)], "forecast.both")
        graph.node("Split", [both], ["forecast.low", "forecast.high"], axis=-1, num_outputs=2)
        column = graph.reshape("forecast.high", [-1, half, 1], "forecast.column")
        row = graph.reshape("forecast.low", [-1, 1, half], "forecast.row")
        square = graph.node("Add", [column, row], "forecast.square")
        return graph.reshape(square, [-1, half * half], "forecast.logits")
