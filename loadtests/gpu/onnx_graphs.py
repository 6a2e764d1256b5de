"""ONNX graphs that are measured: attention over a cache alone, and a whole decoder, each in several variants.

The cache is an input and an output per layer, meant to be bound to one buffer. `Variant` names how attention knows
which columns a token may see; `is_contrib` takes ONNX Runtime's own operators where the standard has newer ones.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from loadtests.gpu.decoder import Decoder, LayerWeights
from loadtests.gpu.shapes import DecoderShape

OPSET = 24
IR_VERSION = 11
CONTRIB = "com.microsoft"
ONNX_TYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.int64: TensorProto.INT64,
    torch.int32: TensorProto.INT32,
    torch.bool: TensorProto.BOOL,
}


class Variant(Enum):
    MASK = "scatter, bool mask"
    MASK_LENGTH = "scatter, bool mask and length"
    CAUSAL_LENGTH = "scatter, causal and length"
    FLAT_MASK = "scatter, bool mask, heads side by side"
    PAST = "cache inputs, causal, cache copied"
    GROUP_QUERY = "GroupQueryAttention"

    @property
    def has_mask(self) -> bool:
        return self in (Variant.MASK, Variant.MASK_LENGTH, Variant.FLAT_MASK)

    @property
    def has_length(self) -> bool:
        return self in (Variant.MASK_LENGTH, Variant.CAUSAL_LENGTH)

    @property
    def is_in_place(self) -> bool:
        return self is not Variant.PAST


class GraphWriter:
    """Collects nodes, inputs, outputs and weights; names nodes after their first result."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.type = ONNX_TYPES[dtype]
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def node(self, operator: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> str:
        self._nodes.append(
            helper.make_node(operator, inputs, outputs, name=f"{outputs[0]}_node", domain=domain, **attributes)
        )
        return outputs[0]

    def input(self, name: str, shape: list[int | str], dtype: int | None = None) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype or self.type, shape))
        return name

    def output(self, name: str, shape: list[int | str], dtype: int | None = None) -> str:
        self._outputs.append(helper.make_tensor_value_info(name, dtype or self.type, shape))
        return name

    def weight(self, name: str, tensor: Tensor) -> str:
        """Raw bytes, so that bfloat16 needs no further package."""
        flat = tensor.detach().contiguous().cpu()
        raw = flat.view(torch.uint8).numpy().tobytes() if flat.dim() else flat.numpy().tobytes()
        weight = TensorProto(name=name, data_type=ONNX_TYPES[tensor.dtype], raw_data=raw)
        weight.dims.extend(tensor.shape)
        self._weights.append(weight)
        return name

    def integers(self, name: str, values: list[int]) -> str:
        self._weights.append(onnx.numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "measured", self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def attention_graph(shape: DecoderShape, columns: int, dtype: torch.dtype, variant: Variant) -> onnx.ModelProto:
    """query [B, S, H D], key and value [B, S, Hk D], the cache -> seen [B, S, H D], the cache.

    Columns: the cache's extent; PAST takes a cache of any extent P and gives P + S.
    """
    writer = GraphWriter(dtype)
    depth = shape.head_dim
    query = writer.input("query", ["B", "S", shape.heads * depth])
    key, value = (writer.input(name, ["B", "S", shape.kv_heads * depth]) for name in ("key", "value"))
    _place_inputs(writer, variant, columns)
    past = _cache_inputs(writer, shape, columns, variant, 0)
    present = _cache_outputs(writer, shape, columns, variant, 0)
    writer.output("seen", ["B", "S", shape.heads * depth])
    _attend(writer, shape, variant, (query, key, value), past, present, "seen", "")
    return writer.model()


def decoder_graph(
    decoder: Decoder, head: Tensor, columns: int, variant: Variant, is_contrib: bool = False
) -> onnx.ModelProto:
    """x [B, S, hidden], positions [B, S], write [B], mask or length, caches -> logits float [B, S, V], caches."""
    shape, dtype = decoder.shape, decoder.final_norm.dtype
    writer = GraphWriter(dtype)
    x = writer.input("x", ["B", "S", shape.hidden])
    writer.input("positions", ["B", "S"], TensorProto.INT64)
    _place_inputs(writer, variant, columns)
    half = shape.head_dim // 2
    writer.weight("cosine", decoder.cosine[:, :half])
    writer.weight("sine", decoder.sine[:, half:])
    writer.integers("heads_apart", [0, 0, -1, shape.head_dim])
    writer.integers("heads_joined", [0, 0, -1])
    for index, weights in enumerate(decoder.layers):
        past = _cache_inputs(writer, shape, columns, variant, index)
        present = _cache_outputs(writer, shape, columns, variant, index)
        x = _layer(writer, shape, weights, variant, is_contrib, index, x, past, present)
    h = _norm(writer, x, decoder.final_norm, shape, is_contrib, "final")
    writer.weight("head", head.T)
    writer.node("MatMul", [h, "head"], ["narrow_logits"])
    writer.output("logits", ["B", "S", head.shape[0]], TensorProto.FLOAT)
    writer.node("Cast", ["narrow_logits"], ["logits"], to=TensorProto.FLOAT)
    return writer.model()


def _layer(
    writer: GraphWriter,
    shape: DecoderShape,
    weights: LayerWeights,
    variant: Variant,
    is_contrib: bool,
    index: int,
    x: str,
    past: tuple[str, str],
    present: tuple[str, str],
) -> str:
    p = f"layer{index}_"
    depth = shape.head_dim
    h = _norm(writer, x, weights.input_norm, shape, is_contrib, f"{p}input")
    writer.node("MatMul", [h, writer.weight(f"{p}qkv_w", weights.qkv.T)], [f"{p}qkv"])
    sizes = writer.integers(f"{p}sizes", [shape.heads * depth, shape.kv_heads * depth, shape.kv_heads * depth])
    writer.node("Split", [f"{p}qkv", sizes], [f"{p}q", f"{p}k", f"{p}v"], axis=-1)
    for name, norm in (("q", weights.head_norms[0]), ("k", weights.head_norms[shape.heads])):
        writer.node("Reshape", [f"{p}{name}", "heads_apart"], [f"{p}{name}_apart"])
        normed = _norm(writer, f"{p}{name}_apart", norm, shape, is_contrib, f"{p}{name}")
        writer.node("Transpose", [normed], [f"{p}{name}_heads"], perm=[0, 2, 1, 3])
        if is_contrib:
            inputs = [f"{p}{name}_heads", "positions", "cosine", "sine"]
            writer.node("RotaryEmbedding", inputs, [f"{p}{name}_turned"], domain=CONTRIB)
        else:
            inputs = [f"{p}{name}_heads", "cosine", "sine", "positions"]
            writer.node("RotaryEmbedding", inputs, [f"{p}{name}_turned"])
        writer.node("Transpose", [f"{p}{name}_turned"], [f"{p}{name}_back"], perm=[0, 2, 1, 3])
        writer.node("Reshape", [f"{p}{name}_back", "heads_joined"], [f"{p}{name}_flat"])
    _attend(writer, shape, variant, (f"{p}q_flat", f"{p}k_flat", f"{p}v"), past, present, f"{p}seen", p)
    writer.node("MatMul", [f"{p}seen", writer.weight(f"{p}out_w", weights.out.T)], [f"{p}out"])
    x = writer.node("Add", [x, f"{p}out"], [f"{p}middle"])
    h = _norm(writer, x, weights.mlp_norm, shape, is_contrib, f"{p}mlp")
    writer.node("MatMul", [h, writer.weight(f"{p}gate_up_w", weights.gate_up.T)], [f"{p}gate_up"])
    halves = writer.integers(f"{p}halves", [shape.intermediate, shape.intermediate])
    writer.node("Split", [f"{p}gate_up", halves], [f"{p}gate", f"{p}up"], axis=-1)
    writer.node("Sigmoid", [f"{p}gate"], [f"{p}open"])
    writer.node("Mul", [f"{p}gate", f"{p}open"], [f"{p}gated"])
    writer.node("Mul", [f"{p}gated", f"{p}up"], [f"{p}inner"])
    writer.node("MatMul", [f"{p}inner", writer.weight(f"{p}down_w", weights.down.T)], [f"{p}down"])
    return writer.node("Add", [x, f"{p}down"], [f"{p}result"])


def _norm(writer: GraphWriter, x: str, weight: Tensor, shape: DecoderShape, is_contrib: bool, name: str) -> str:
    operator = "SimplifiedLayerNormalization" if is_contrib else "RMSNormalization"
    inputs = [x, writer.weight(f"{name}_norm_w", weight)]
    return writer.node(operator, inputs, [f"{name}_normed"], axis=-1, epsilon=shape.norm_epsilon)


def _attend(
    writer: GraphWriter,
    shape: DecoderShape,
    variant: Variant,
    qkv: tuple[str, str, str],
    past: tuple[str, str],
    present: tuple[str, str],
    result: str,
    p: str,
) -> None:
    """qkv as [B, S, heads D] -> result [B, S, H D]."""
    counts = {"q_num_heads": shape.heads, "kv_num_heads": shape.kv_heads}
    if variant is Variant.GROUP_QUERY:
        writer.node(
            "GroupQueryAttention", [*qkv, *past, "last", "total"], [result, *present], domain=CONTRIB,
            num_heads=shape.heads, kv_num_heads=shape.kv_heads,
        )  # fmt: skip
        return
    if variant is Variant.PAST:
        writer.node("Attention", [*qkv, "", *past], [result, *present], is_causal=1, **counts)
        return
    query, key, value = qkv
    is_flat = variant is Variant.FLAT_MASK
    if not is_flat:
        query, key, value = (
            _heads_first(writer, name, count, shape.head_dim, f"{p}a{letter}")
            for name, count, letter in zip(qkv, (shape.heads, shape.kv_heads, shape.kv_heads), "qkv")
        )
    for fresh, old, new in ((key, past[0], present[0]), (value, past[1], present[1])):
        writer.node("TensorScatter", [old, fresh, "write"], [new], axis=-2, mode="linear")
    inputs = [query, *present, "mask" if variant.has_mask else ""]
    if variant.has_length:
        inputs += ["", "", "length"]
    attributes: dict[str, int] = {"is_causal": 1} if variant is Variant.CAUSAL_LENGTH else {}
    if is_flat:
        writer.node("Attention", inputs, [result], **attributes, **counts)
        return
    writer.node("Attention", inputs, [f"{p}seen_heads"], **attributes)
    writer.node("Transpose", [f"{p}seen_heads"], [f"{p}seen_back"], perm=[0, 2, 1, 3])
    joined = writer.integers(f"{p}seen_joined", [0, 0, shape.heads * shape.head_dim])
    writer.node("Reshape", [f"{p}seen_back", joined], [result])


def _heads_first(writer: GraphWriter, name: str, count: int, depth: int, prefix: str) -> str:
    apart = writer.integers(f"{prefix}_shape", [0, 0, count, depth])
    writer.node("Reshape", [name, apart], [f"{prefix}_apart"])
    return writer.node("Transpose", [f"{prefix}_apart"], [f"{prefix}_first"], perm=[0, 2, 1, 3])


def _place_inputs(writer: GraphWriter, variant: Variant, columns: int) -> None:
    if variant is Variant.GROUP_QUERY:
        writer.input("last", ["B"], TensorProto.INT32)
        writer.input("total", [], TensorProto.INT32)
    elif variant is not Variant.PAST:
        writer.input("write", ["B"], TensorProto.INT64)
    if variant.has_mask:
        writer.input("mask", ["B", 1, "S", columns], TensorProto.BOOL)
    if variant.has_length:
        writer.input("length", ["B"], TensorProto.INT64)


def cache_shape(shape: DecoderShape, rows: int | str, columns: int | str, variant: Variant) -> list[int | str]:
    if variant is Variant.FLAT_MASK:
        return [rows, columns, shape.kv_heads * shape.head_dim]
    return [rows, shape.kv_heads, columns, shape.head_dim]


def _cache_inputs(
    writer: GraphWriter, shape: DecoderShape, columns: int, variant: Variant, index: int
) -> tuple[str, str]:
    size = cache_shape(shape, "B", columns if variant.is_in_place else "P", variant)
    return writer.input(f"past_key{index}", size), writer.input(f"past_value{index}", size)


def _cache_outputs(
    writer: GraphWriter, shape: DecoderShape, columns: int, variant: Variant, index: int
) -> tuple[str, str]:
    size = cache_shape(shape, "B", columns if variant.is_in_place else "P_and_S", variant)
    return writer.output(f"present_key{index}", size), writer.output(f"present_value{index}", size)
