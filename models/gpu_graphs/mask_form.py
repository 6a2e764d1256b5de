"""The speech LM as TensorRT takes it: one graph for decode, verification and prefill, attention under a mask.

The mask says what a step sees; lengths are never given to the attention itself (fused attention over a cache of fixed
capacity and lengths builds and is wrong). All operators are standard. B rows of S steps each, S free:

    before [B, S]      the frame before each step
    steps [S]          0, 1, ...: no shape is computed in the graph
    lengths [B]        what each row holds; its step s is written, and sees, up to lengths + s
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from models.gpu_graphs.building import DeviceGraph
from models.gpu_graphs.standard import in_standard_operators
from models.gpu_graphs.weights import Array, LmWeights

Axes = list[str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskLayer:
    """Matrices [inputs, outputs]; `head_norms`: of queries and keys, where a model has them."""

    packed: Array
    out: Array
    mlp_norm: Array
    gate_up: Array
    down: Array
    next_norm: Array
    head_norms: tuple[Array, Array] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskShape:
    heads: int
    kv_heads: int
    head_dim: int
    positions: int
    scale: float
    epsilon: float


def speech_lm(weights: LmWeights, dtype: str, positions: int) -> onnx.ModelProto:
    """context [B, S, R - 1] -> frames [B, S]. `last_out` [B]: the last frame, or the one before where not active."""
    graph = DeviceGraph(dtype)
    context = graph.input("context", TensorProto.INT64, ["B", "S", weights.features - 1])
    before = graph.input("before", TensorProto.INT64, ["B", "S"])
    rows = graph.node("Concat", [graph.reshape(before, [0, 0, 1], "before_rows"), context], "rows", axis=2)
    vectors = graph.node("Gather", [graph.weight("table", weights.table), rows], "vectors")
    x = graph.node("ReduceSum", [vectors, graph.constant("table_axis", np.array([2]))], "embedded", keepdims=0)
    norm_in = graph.weight("norm_in", weights.norm_in)
    h = graph.node("RMSNormalization", [x, norm_in], "normed_in", axis=-1, epsilon=1e-5)
    forecast = _forecast(graph, weights, h)
    shape = MaskShape(
        heads=weights.heads, kv_heads=1, head_dim=weights.head_dim, positions=positions, scale=1.0, epsilon=1e-5
    )
    layers = MaskLayers(graph, shape, weights.cosine[:positions], weights.sine[:positions])
    for at, one in enumerate(weights.layers):
        layer = MaskLayer(
            packed=one.packed,
            out=one.out,
            mlp_norm=one.mlp_norm,
            gate_up=one.gate_up,
            down=one.down,
            next_norm=one.next_norm,
        )
        x, h = layers.run(at, layer, x, h)
    logits = graph.node("MatMul", [h, graph.weight("to_code", weights.to_code)], "code_rows")
    logits = graph.to_float32(graph.node("Add", [logits, forecast], "logits_rows"), "logits")
    _sample(graph, logits, weights.num_codes, before)
    return in_standard_operators(graph.model(f"speech lm {dtype}"))


def _forecast(graph: DeviceGraph, weights: LmWeights, h: str) -> str:
    first, second, scores = weights.forecast
    for index, weight in enumerate((first, second)):
        h = graph.node("MatMul", [h, graph.weight(f"forecast.{index}", weight)], f"forecast.{index}_rows")
        h = graph.node("Mul", [h, graph.node("Sigmoid", [h], f"forecast.{index}_gate")], f"forecast.{index}_silu")
    half = scores.shape[1] // 2
    both = graph.node("MatMul", [h, graph.weight("forecast.scores", scores)], "forecast.both")
    graph.node("Split", [both], ["forecast.low", "forecast.high"], axis=-1, num_outputs=2)
    column = graph.reshape("forecast.high", [0, 0, half, 1], "forecast.column")
    row = graph.reshape("forecast.low", [0, 0, 1, half], "forecast.row")
    return graph.reshape(graph.node("Add", [column, row], "forecast.square"), [0, 0, half * half], "forecast.logits")


def _sample(graph: DeviceGraph, logits: str, num_codes: int, before: str) -> None:
    """As the CUDA form samples: argmax(logits / temperature + noise), noise from a table at the host's places."""
    temperature = graph.input("temperature", TensorProto.FLOAT, ["B"])
    noise_at = graph.input("noise_at", TensorProto.INT64, ["B", "S"])
    table = graph.input("noise_table", TensorProto.FLOAT, ["N"])
    active = graph.input("is_active", TensorProto.BOOL, ["B"])
    scaled = graph.node("Div", [logits, graph.reshape(temperature, [-1, 1, 1], "temperatures")], "scaled")
    ramp = graph.constant("ramp", np.arange(num_codes))
    places = graph.node("Add", [graph.reshape(noise_at, [0, 0, 1], "noise_rows"), ramp], "noise_places")
    noisy = graph.node("Add", [scaled, graph.node("Gather", [table, places], "noise")], "noisy")
    frames = graph.node("ArgMax", [noisy], graph.output("frames", TensorProto.INT64, ["B", "S"]), axis=-1, keepdims=0)
    axis = graph.constant("last_axis", np.array([-1]))
    graph.node("ReduceSum", [noisy, axis], graph.output("scores", TensorProto.FLOAT, ["B", "S"]), keepdims=0)
    at = graph.constant("last_at", np.array([-1]))
    ends = [
        graph.reshape(graph.node("Gather", [one, at], f"{name}_last", axis=1), [-1], f"{name}_end")
        for name, one in (("made", frames), ("known", before))
    ]
    graph.node("Where", [active, *ends], graph.output("last_out", TensorProto.INT64, ["B"]))


class MaskLayers:
    """Decoder layers over slabs [B, kv_heads, T, head_dim] that are updated in place."""

    def __init__(self, graph: DeviceGraph, shape: MaskShape, cosine: Array, sine: Array) -> None:
        self._graph, self._shape = graph, shape
        self._slab: Axes = ["B", shape.kv_heads, shape.positions, shape.head_dim]
        self._cosine, self._sine = graph.weight("cosine", cosine), graph.weight("sine", sine)
        lengths = graph.input("lengths", TensorProto.INT32, ["B"])
        steps = graph.input("steps", TensorProto.INT64, ["S"])
        self._write_at = graph.cast(lengths, TensorProto.INT64, "write_at")
        self._positions = graph.node("Add", [graph.reshape(self._write_at, [-1, 1], "write_rows"), steps], "positions")
        columns = graph.constant("columns", np.arange(shape.positions))
        self._mask = graph.node(
            "LessOrEqual", [columns, graph.reshape(self._positions, [0, 1, -1, 1], "position_rows")], "mask"
        )

    def run(self, at: int, layer: MaskLayer, x: str, h: str) -> tuple[str, str]:
        """x [B, S, width] the sum so far, h normed -> both after the layer"""
        graph, name = self._graph, f"layer.{at}"
        packed = graph.node("MatMul", [h, graph.weight(f"{name}.packed", layer.packed)], f"{name}.packed_rows")
        mixed = self._attention(at, layer, packed)
        joined = graph.node("MatMul", [mixed, graph.weight(f"{name}.out", layer.out)], f"{name}.joined")
        x, h = self._add_and_norm(joined, x, layer.mlp_norm, f"{name}.mlp")
        both = graph.node("MatMul", [h, graph.weight(f"{name}.gate_up", layer.gate_up)], f"{name}.both")
        graph.node("Split", [both], [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
        silu = graph.node(
            "Mul", [f"{name}.gate", graph.node("Sigmoid", [f"{name}.gate"], f"{name}.open")], f"{name}.silu"
        )
        product = graph.node("Mul", [silu, f"{name}.up"], f"{name}.product")
        lowered = graph.node("MatMul", [product, graph.weight(f"{name}.down", layer.down)], f"{name}.lowered")
        return self._add_and_norm(lowered, x, layer.next_norm, f"{name}.next")

    def _add_and_norm(self, added: str, x: str, norm: Array, name: str) -> tuple[str, str]:
        total = self._graph.node("Add", [added, x], f"{name}_sum")
        return total, self._norm(total, norm, name)

    def _norm(self, value: str, norm: Array, name: str) -> str:
        scale = self._graph.weight(f"{name}_norm", norm)
        return self._graph.node(
            "RMSNormalization", [value, scale], f"{name}_normed", axis=-1, epsilon=self._shape.epsilon
        )

    def _attention(self, at: int, layer: MaskLayer, packed: str) -> str:
        graph, shape, name = self._graph, self._shape, f"layer.{at}"
        counts = (shape.heads, shape.kv_heads, shape.kv_heads)
        sizes = graph.constant("packed_sizes", np.array(counts) * shape.head_dim)
        parts = [f"{name}.{part}" for part in "qkv"]
        graph.node("Split", [packed, sizes], parts, axis=-1)
        norms = layer.head_norms or (None, None)
        heads = []
        for part, count, norm in zip(parts, counts, (*norms, None), strict=True):
            one = graph.reshape(part, [0, 0, count, shape.head_dim], f"{part}_steps")
            one = one if norm is None else self._norm(one, norm, part)
            heads.append(graph.node("Transpose", [one], f"{part}_heads", perm=[0, 2, 1, 3]))
        for index in (0, 1):
            heads[index] = graph.node(
                "RotaryEmbedding", [heads[index], self._cosine, self._sine, self._positions], f"{parts[index]}_rotated"
            )
        present = []
        for kind, added in zip("kv", heads[1:], strict=True):
            past = graph.input(f"past_{kind}{at}", graph.type, self._slab)
            present.append(graph.output(f"present_{kind}{at}", graph.type, self._slab))
            graph.node("TensorScatter", [past, added, self._write_at], present[-1], axis=-2, mode="linear")
        mixed = graph.node("Attention", [heads[0], *present, self._mask], f"{name}.mixed_heads", scale=shape.scale)
        along = graph.node("Transpose", [mixed], f"{name}.mixed", perm=[0, 2, 1, 3])
        return graph.reshape(along, [0, 0, shape.heads * shape.head_dim], f"{name}.mixed_rows")
