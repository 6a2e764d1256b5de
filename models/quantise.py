"""int8 for the large matrix products of a graph: static, calibrated, one scale per output channel of a weight.

    x -> QuantizeLinear -> DequantizeLinear -> MatMul(., DequantizeLinear(int8 weight))

The scale of x is fixed beforehand from speech that the model has seen run, so a row's bits do not depend on its
neighbours, as they would with scales taken from the batch (Jacob et al., arXiv 1712.05877, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.runtime.ort import cpu_session, session_options

MIN_WEIGHTS = 16_384  # smaller products gain nothing
Feeds = dict[str, NDArray[Any]]


def products(
    model: onnx.ModelProto, wanted: Callable[[str], bool] = lambda name: True, least: int = MIN_WEIGHTS
) -> list[onnx.NodeProto]:
    """The MatMul and Gemm nodes whose second input is a constant of `least` weights or more, stored behind a Cast."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    constants = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    found = []
    for node in model.graph.node:
        if not _multiplies(node) or constants.get(node.input[1]) not in stored or not wanted(node.input[1]):
            continue
        if np.prod(stored[constants[node.input[1]]].dims) >= least:
            found.append(node)
    return found


def _multiplies(node: onnx.NodeProto) -> bool:
    """Two inputs and nothing else: no bias, nothing transposed."""
    return node.op_type in ("MatMul", "Gemm") and len(node.input) == 2 and not node.attribute


def scales(model: onnx.ModelProto, calls: Iterable[Feeds], least: int = MIN_WEIGHTS) -> dict[str, np.float32]:
    """A step of int8 for what enters each product, by the tensor's name: no magnitude seen in the calls is cut."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    names = sorted({node.input[0] for node in products(model, least=least)})
    known = {output.name for output in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known
    )
    options = session_options()
    options.intra_op_num_threads = 1
    session = cpu_session(watched.SerializeToString(), options)
    found = dict.fromkeys(names, 0.0)
    for feeds in calls:
        for name, value in zip(names, session.run(names, feeds), strict=True):
            found[name] = max(found[name], float(np.abs(value).max()))
    return {name: np.float32(peak / 127) for name, peak in found.items()}


def scales_in(model: onnx.ModelProto) -> dict[str, np.float32]:
    """Those of a graph that `quantised` made, folded since or not; empty for one in float.

    What enters a product has one scale, a weight has one for each column.
    """
    names = {one.name for one in model.graph.initializer}
    single = [one for one in model.graph.initializer if one.name.endswith(".scale") and not one.dims]
    found = {one.name.removesuffix(".scale"): np.float32(numpy_helper.to_array(one)) for one in single}
    return {name: scale for name, scale in found.items() if f"{name}.zero" in names}


def quantised(
    model: onnx.ModelProto,
    scale: dict[str, np.float32],
    wanted: Callable[[str], bool] = lambda name: True,
    least: int = MIN_WEIGHTS,
) -> onnx.ModelProto:
    """The same graph with int8 products; `scale` of every product's input as `scales` gives it."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored}
    chosen = {node.output[0] for node in products(model, wanted, least)}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, onnx.TensorProto] = {}
    entered: set[str] = set()
    kept: set[str] = set()

    def constant(name: str, value: NDArray[Any]) -> None:
        added[name] = numpy_helper.from_array(value, name)

    def node_of(kind: str, inputs: list[str], output: str, **attributes: int) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name=f"{kind}:{output}", **attributes)

    for node in graph.node:
        if node.output[0] not in chosen:
            nodes.append(node)
            continue
        x, weight = node.input
        if x not in entered:
            constant(f"{x}.scale", np.array(scale[x]))
            constant(f"{x}.zero", np.array(0, np.int8))
            nodes.append(node_of("QuantizeLinear", [x, f"{x}.scale", f"{x}.zero"], f"{x}.int8"))
            entered.add(x)
        if weight not in kept:
            value = numpy_helper.to_array(stored[casts[weight].input[0]]).astype(np.float32)
            steps = np.maximum(np.abs(value).max(0), 1e-8) / 127
            constant(f"{weight}.int8", np.round(value / steps).astype(np.int8))
            constant(f"{weight}.scale", steps.astype(np.float32))
            constant(f"{weight}.zero", np.zeros(value.shape[1], np.int8))
            kept.add(weight)
        # A pair of its own for each product: shared ones are not fused with it and would be undone at every call.
        at = node.output[0]
        left = node_of("DequantizeLinear", [f"{x}.int8", f"{x}.scale", f"{x}.zero"], f"{at}.left")
        right = node_of(
            "DequantizeLinear", [f"{weight}.int8", f"{weight}.scale", f"{weight}.zero"], f"{at}.right", axis=1
        )
        nodes += [left, right, node_of(node.op_type, [f"{at}.left", f"{at}.right"], at)]
    used = {name for node in nodes for name in node.input}
    needed = [node for node in nodes if node.op_type != "Cast" or node.output[0] in used]
    used = {name for node in needed for name in node.input}
    rest = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(needed)
    graph.initializer.extend([*rest, *added.values()])
    return result
