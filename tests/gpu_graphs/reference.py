"""The shipped graphs as the float networks that they stand for: the same dequantised weights, activations not rounded.

Only the rounding is taken out, so that nothing of the GPU form's own making is in the reference.
"""

from __future__ import annotations

from typing import Any

import onnx

from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.ort import ort, session_options

Nodes = Any  # a repeated field of NodeProto


def float_session(bundle: Bundle, file: str) -> Any:
    model = onnx.load(bundle.folder / file)
    dropped = _drop_rounding(model.graph.node, {one.name for one in model.graph.initializer})
    for function in model.functions:
        dropped += _drop_rounding(function.node, {name for name in function.input if name.startswith("constant")})
    assert dropped, f"{file} rounds nothing"
    return session(model, optimised=False)


def session(model: onnx.ModelProto, *, optimised: bool = True) -> Any:
    """Optimised, a dequantised product rounds its left side after all."""
    options = session_options()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _drop_rounding(nodes: Nodes, constants: set[str]) -> int:
    """Drops each pair of QuantizeLinear and DequantizeLinear around an activation. Returns how many nodes."""
    renamed: dict[str, str] = {}
    kept = []
    for node in nodes:
        for at, name in enumerate(node.input):
            node.input[at] = renamed.get(name, name)
        of_an_activation = node.op_type == "DequantizeLinear" and node.input[0] not in constants
        if node.op_type == "QuantizeLinear" or of_an_activation:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    dropped = len(nodes) - len(kept)
    del nodes[:]
    nodes.extend(kept)
    return dropped
