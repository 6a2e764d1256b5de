"""Folds attention and int8 products of the LM's graphs into nodes of our own.

    attention     one node of the runtime                                         one `parlando.Attention`
    a product     QuantizeLinear, two DequantizeLinear, Gemm                      one `parlando.Product`

An attention whose scores are scaled or that does more than rotate, and a cache in int8, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

from models.folding import Part, fold

ATTENTION, PRODUCT = "Attention", "Product"
_ROTATED = {"do_rotary": 1, "scale": 1.0}


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with nodes of our own; it may have none of the parts."""
    return fold(model, lambda graph: [*_attentions(graph), *products(graph)])


def _attentions(graph: onnx.GraphProto) -> Iterator[tuple[str, Part]]:
    floats = {
        one.name
        for one in graph.input
        if one.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and one.name.startswith("past_")
    }
    heads = dict.fromkeys(("num_heads", "kv_num_heads"))
    makes = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        if node.op_type != "GroupQueryAttention" or len(node.input) != 9 or node.input[1] or node.input[2]:
            continue
        given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        source = node
        while source.input[3] in makes:  # of several steps each takes in what the one before it left
            source = makes[source.input[3]]
        if {name: value for name, value in given.items() if name not in heads} != _ROTATED or source.input[
            3
        ] not in floats:
            continue
        packed, _, _, past_k, past_v, last, total, cosine, sine = node.input
        yield ATTENTION, Part([node], [packed, past_k, past_v, last, total, cosine, sine], list(node.output))


def products(graph: onnx.GraphProto) -> Iterator[tuple[str, Part]]:
    """The int8 products, each with the quantisation of what enters it."""
    makes = {name: node for node in graph.node for name in node.output}
    users = [name for node in graph.node for name in node.input]
    for node in list(graph.node):
        if node.op_type != "Gemm" or len(node.input) != 2 or node.attribute:
            continue
        left, right = (makes.get(name) for name in node.input)
        if left is None or right is None or {left.op_type, right.op_type} != {"DequantizeLinear"}:
            continue
        entry = makes.get(left.input[0])
        if entry is None or entry.op_type != "QuantizeLinear" or users.count(entry.output[0]) != 1:
            continue
        yield PRODUCT, Part([entry, left, right, node], [entry.input[0]], list(node.output))
