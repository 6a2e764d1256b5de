"""Graphs of one node each, as the folding writes them, and sessions in which our kernels run them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.runtime.kernels import Kernels
from engines.runtime.ort import ort, session_options
from models.fold_lm import folded

Array = NDArray[Any]
PACKED = ["packed", "", "", "past_k", "past_v", "last", "total", "cosine", "sine"]
FLOAT, HALF, INT8, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT32
ROW_SCALE = np.float32(0.037)
_OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]


def graph(heads: int, kv_heads: int, cache: int = FLOAT, **attributes: Any) -> ModelProto:
    """Attention, folded where it is for our kernel."""
    given = {"packed": FLOAT, "past_k": cache, "past_v": cache, "last": INT32, "total": INT32}
    given |= {"cosine": FLOAT, "sine": FLOAT}
    ranks = {"packed": 3, "past_k": 4, "past_v": 4, "last": 1, "total": 1, "cosine": 2, "sine": 2}
    results = {"mixed": 3, "present_k": 4, "present_v": 4}
    attributes = {"do_rotary": 1, "scale": 1.0, "num_heads": heads, "kv_num_heads": kv_heads} | attributes
    node = helper.make_node("GroupQueryAttention", PACKED, [*results], domain="com.microsoft", **attributes)

    def end(name: str, kind: int, rank: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])

    body = helper.make_graph(
        [node],
        "attention",
        [end(name, kind, ranks[name]) for name, kind in given.items()],
        [end(name, cache if "present" in name else FLOAT, rank) for name, rank in results.items()],
    )
    return folded(helper.make_model(body, opset_imports=_OPSETS, ir_version=10))


def product(weights: Array, scales: Array, *, constant: bool = True, zero: int = 0, of_rows: int = 0) -> ModelProto:
    """rows [R, depth] in float by weights [depth, columns] in int8."""
    constants = {"scale": np.array(ROW_SCALE), "zero": np.array(of_rows, np.int8), "weights": weights}
    constants |= {"scales": scales, "zeros": np.full(len(scales), zero, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["rows", "scale", "zero"], ["small"]),
        helper.make_node("DequantizeLinear", ["small", "scale", "zero"], ["left"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["right"], axis=1),
        helper.make_node("Gemm", ["left", "right"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info("rows", FLOAT, ["R", None])]
    body = helper.make_graph(
        nodes,
        "product",
        inputs,
        [helper.make_tensor_value_info("out", FLOAT, ["R", weights.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    whole = folded(helper.make_model(body, opset_imports=_OPSETS, ir_version=10))
    if constant:
        return whole
    kept = [one for one in whole.graph.initializer if one.name != "weights"]
    del whole.graph.initializer[:]
    whole.graph.initializer.extend(kept)
    whole.graph.input.append(helper.make_tensor_value_info("weights", INT8, list(weights.shape)))
    return whole


def session(model: ModelProto, form: str, threads: int = 1) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    Kernels(form=form).register(options)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def stock(model: ModelProto) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
