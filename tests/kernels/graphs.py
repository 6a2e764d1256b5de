"""Graphs of one node each, and sessions in which our kernels run them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.runtime.onnx import kernel_library
from engines.runtime.ort import ort

Array = NDArray[Any]
NODE = "GroupQueryAttention"
INPUTS = ["packed", "", "", "past_k", "past_v", "last", "total", "cosine", "sine"]
PRODUCT_INPUTS = ["rows", "row_scale", "row_zero", "weights", "scales", "zeros"]
FLOAT, HALF, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32


def graph(heads: int, kv_heads: int, inputs: list[str] = INPUTS, cache: int = FLOAT, **attributes: Any) -> bytes:
    given = {"packed": FLOAT, "past_k": cache, "past_v": cache, "last": INT32, "total": INT32}
    given |= {"cosine": FLOAT, "sine": FLOAT}
    ranks = {"packed": 3, "past_k": 4, "past_v": 4, "last": 1, "total": 1, "cosine": 2, "sine": 2}
    results = {"mixed": 3, "present_k": 4, "present_v": 4}
    node = helper.make_node(
        NODE, inputs, [*results], domain="com.microsoft", num_heads=heads, kv_num_heads=kv_heads, **attributes
    )

    def end(name: str, kind: int, rank: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])

    body = helper.make_graph(
        [node],
        "attention",
        [end(name, kind, ranks[name]) for name, kind in given.items() if name in inputs],
        [end(name, cache if "present" in name else FLOAT, rank) for name, rank in results.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10).SerializeToString()


def product(weights: Array, scales: Array, *, constant: bool = True, zero: int = 0, **attributes: Any) -> bytes:
    """rows [R, depth] in uint8 by weights [depth, columns] in int8."""
    node = helper.make_node("QGemm", PRODUCT_INPUTS, ["out"], domain="com.microsoft", **attributes)
    kinds = {"rows": TensorProto.UINT8, "row_scale": FLOAT, "row_zero": TensorProto.UINT8}
    shapes: dict[str, list[Any]] = {"rows": ["R", None], "row_scale": [], "row_zero": []}
    constants = {"weights": weights, "scales": scales, "zeros": np.full(len(scales), zero, np.int8)}
    if not constant:
        constants.pop("weights")
        kinds["weights"], shapes["weights"] = TensorProto.INT8, list(weights.shape)
    body = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info("out", FLOAT, ["R", weights.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10).SerializeToString()


def library() -> ctypes.CDLL:
    found = kernel_library()
    if found is None:
        pytest.skip("the kernels were not compiled when this package was installed")
    return ctypes.CDLL(found)


def session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        options.register_custom_ops_library(library()._name)
    except Exception as error:
        if "want AVX2" not in str(error):
            raise
        pytest.skip("this processor has no AVX2")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def stock(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
