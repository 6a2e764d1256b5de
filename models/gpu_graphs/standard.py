"""A graph in ONNX's standard operators alone, as TensorRT's parser takes it: our own domain's and ONNX Runtime's
operators are written out, int8 weights multiplied out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engines.errors import BundleError
from engines.runtime.kernels import DOMAIN
from models.gpu_graphs.building import MICROSOFT
from models.gpu_graphs.weights import multiplied_out

_OPSET = 24
Node = onnx.NodeProto


def in_standard_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """Raises BundleError with the operator that has no such form."""
    constants = {one.name: one for one in model.graph.initializer}
    nodes = [new for node in model.graph.node for new in _written_out(node, constants)]
    used = {name for node in nodes for name in node.input}
    kept = [one for name, one in constants.items() if name in used]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=11)


def _written_out(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    key = (node.domain, node.op_type)
    if key in _FORMS:
        yield from _FORMS[key](node, constants)
    elif node.domain:
        raise BundleError(f"{node.domain}.{node.op_type} ({node.name}) has no form in standard operators")
    else:
        yield node


def _attributes(node: Node) -> dict[str, Any]:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _rms(value: str, scale: str, output: str, epsilon: float) -> Node:
    return helper.make_node("RMSNormalization", [value, scale], [output], f"norm:{output}", axis=-1, epsilon=epsilon)


def _norm(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    yield _rms(node.input[0], node.input[1], node.output[0], _attributes(node)["epsilon"])


def _add_and_norm(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    total = node.output[3] if len(node.output) > 3 else f"{node.output[0]}.sum"
    yield helper.make_node("Add", node.input[:2], [total], f"add:{total}")
    yield _rms(total, node.input[2], node.output[0], _attributes(node)["epsilon"])


def _silu(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    if (alpha := _attributes(node)["alpha"]) != 1.0:
        raise BundleError(f"QuickGelu of {node.name} has alpha {alpha}, only 1 is written out")
    gate = f"{node.output[0]}.gate"
    yield helper.make_node("Sigmoid", node.input, [gate], f"sigmoid:{gate}")
    yield helper.make_node("Mul", [node.input[0], gate], node.output, f"mul:{node.output[0]}")


def _bias_gelu(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    biased = f"{node.output[0]}.biased"
    yield helper.make_node("Add", node.input, [biased], f"add:{biased}")
    yield helper.make_node("Gelu", [biased], node.output, f"gelu:{node.output[0]}")


def _fast_gelu(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    value = node.input[0]
    if len(node.input) > 1:
        value = f"{node.output[0]}.biased"
        yield helper.make_node("Add", node.input, [value], f"add:{value}")
    yield helper.make_node("Gelu", [value], node.output, f"gelu:{node.output[0]}", approximate="tanh")


def _causal_convolution(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    """x [R, C, F] behind its state [R, C, taps - 1]; the new state is the last taps - 1 columns of both."""
    x, taps, bias, state = node.input
    channels, _, count = constants[taps].dims
    whole = f"{node.output[0]}.whole"
    ends = [_constant(constants, f"column.{at}", [at]) for at in (1 - count, 2**62, 2)]
    yield helper.make_node("Concat", [state, x], [whole], f"concat:{whole}", axis=2)
    yield helper.make_node("Conv", [whole, taps, bias], node.output[:1], f"conv:{node.output[0]}", group=channels)
    yield helper.make_node("Slice", [whole, *ends], node.output[1:2], f"slice:{node.output[1]}")


def _attention(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    """TensorRT's parser drops lengths without a word, and begins a causal mask at the first column of the cache."""
    if any(node.input[4:]) or _attributes(node).get("is_causal"):
        raise BundleError(f"{node.name} takes lengths, a past or a causal flag; for TensorRT a mask says what is seen")
    yield node


def _product(node: Node, constants: dict[str, onnx.TensorProto]) -> Iterator[Node]:
    """x, its scale and zero, and int8 weights with theirs."""
    weights = [numpy_helper.to_array(constants[name]) for name in node.input[3:6]]
    name = f"{node.input[3]}.float"
    constants.setdefault(name, numpy_helper.from_array(multiplied_out(*weights), name))
    yield helper.make_node("MatMul", [node.input[0], name], node.output, f"product:{node.output[0]}")


def _constant(constants: dict[str, onnx.TensorProto], name: str, value: list[int]) -> str:
    constants.setdefault(name, numpy_helper.from_array(np.array(value), name))
    return name


_FORMS: dict[tuple[str, str], Callable[[Node, dict[str, onnx.TensorProto]], Iterator[Node]]] = {
    ("", "SimplifiedLayerNormalization"): _norm,
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): _add_and_norm,
    (MICROSOFT, "QuickGelu"): _silu,
    (MICROSOFT, "BiasGelu"): _bias_gelu,
    (MICROSOFT, "FastGelu"): _fast_gelu,
    (MICROSOFT, "CausalConvWithState"): _causal_convolution,
    ("", "Attention"): _attention,
    (DOMAIN, "Product"): _product,
}
