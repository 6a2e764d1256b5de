"""The int8 form of an exported LM, for speed alone: python -m models.bench.lm_int8 LM.onnx INT8.onnx CACHE

Linear layers become int8 by int8 with one scale a column for weights and one fixed scale for activations, so a row
does not depend on its neighbours; the attention cache stays in float, as served, or becomes half. The activation
scales here are plain constants, not calibrated: the graph does the work of a served int8 model, its logits are not fit
to be sampled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.fold_lm import folded

_CACHES = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16}
_ACTIVATION_SCALE = np.float32(5 / 127)  # normed activations seldom pass 5


def to_int8(model: onnx.ModelProto, cache: str) -> None:
    """Rewrites the graph in place; `cache`, one of _CACHES, says what attention's cache becomes."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    halves = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and halves.get(node.input[1]) in stored:
            weight = numpy_helper.to_array(stored[halves[node.input[1]]]).astype(np.float32)
            nodes += _quantised_matmul(node, weight, constants)
            continue
        nodes.append(node)
    read = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "Cast" or node.output[0] in read]
    read = {name for node in nodes for name in node.input}
    constants += [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    for end in [*graph.input, *graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = _CACHES[cache]


def _quantised_matmul(
    node: onnx.NodeProto, weight: np.ndarray, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """x [B, S, in] times weight [in, out], written as quantise, dequantise and multiply, which the runtime fuses."""
    out = node.output[0]
    scale = (np.abs(weight).max(axis=0) / 127).astype(np.float32)
    values = {
        "q": np.clip(np.rint(weight / scale), -127, 127).astype(np.int8),
        "scale": scale,
        "zeros": np.zeros(weight.shape[1], np.int8),
        "x_scale": _ACTIVATION_SCALE,
        "x_zero": np.int8(0),
    }
    constants += [numpy_helper.from_array(np.asarray(value), f"{out}.{name}") for name, value in values.items()]
    activation = [f"{out}.x_scale", f"{out}.x_zero"]
    return [
        helper.make_node("QuantizeLinear", [node.input[0], *activation], [f"{out}.xq"], name=f"quantise:{out}"),
        helper.make_node("DequantizeLinear", [f"{out}.xq", *activation], [f"{out}.x"], name=f"activation:{out}"),
        helper.make_node(
            "DequantizeLinear", [f"{out}.q", f"{out}.scale", f"{out}.zeros"], [f"{out}.w"], name=f"weight:{out}", axis=1
        ),
        helper.make_node(node.op_type, [f"{out}.x", f"{out}.w"], [out], name=node.name),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("cache", choices=_CACHES)
    options = parser.parse_args()
    model = onnx.load(options.source)
    to_int8(model, options.cache)
    onnx.save(folded(model), options.target)


if __name__ == "__main__":
    main()
