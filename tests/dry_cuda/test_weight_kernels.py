"""Which kernels the provider has for weights of 8 bits: what docs/decisions/0023 rests on, so that a new version which
has better ones is noticed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto, NodeProto, TensorProto, helper

from models.gpu_graphs.building import MICROSOFT, TYPES
from tests.dry_cuda.captures import capture
from tests.dry_cuda.log import Log

INPUTS, OUTPUTS, BLOCK = 1024, 3072, 32


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("rows", "kernels"),
    [(1, {"MatMulFloat8bKernelM1": 1}), (8, {"Dequantize8BitsKernel": 1, "cublasGemmEx": 1})],
)
def test_int8_weights_are_expanded_for_several_rows(log: Log, dtype: str, rows: int, kernels: dict[str, int]) -> None:
    node = helper.make_node(
        "MatMulNBits",
        ["x", "weights", "scales"],
        ["y"],
        domain=MICROSOFT,
        K=INPUTS,
        N=OUTPUTS,
        bits=8,
        block_size=BLOCK,
    )
    blocks = INPUTS // BLOCK
    weights = _zeros("weights", TensorProto.UINT8, [OUTPUTS, blocks, BLOCK], 1)
    scales = _zeros("scales", TYPES[dtype], [OUTPUTS * blocks], 2)
    made = _product([node], [weights, scales], TYPES[dtype])
    assert capture(made, {"B": rows}, {}, log).nodes == kernels


@pytest.mark.parametrize("rows", [1, 8])
def test_fp8_weights_are_expanded(log: Log, rows: int) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["wide"]),
        helper.make_node("MatMul", ["x", "wide"], ["y"]),
    ]
    made = _product(nodes, [_fp8("weights", [INPUTS, OUTPUTS]), _ones("scale"), _fp8("zero", [])], TensorProto.FLOAT16)
    assert capture(made, {"B": rows}, {}, log).nodes == {"DequantizeLinearKernelSat": 1, "cublasGemmEx": 1}


def test_a_product_in_fp8_cannot_be_captured(log: Log) -> None:
    """It waits for its stream, which a capture forbids."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["narrow"]),
        helper.make_node(
            "GemmFloat8",
            ["narrow", "weights", "", "one", "one", "one"],
            ["y"],
            domain=MICROSOFT,
            transB=1,
            dtype=TensorProto.FLOAT16,
        ),
    ]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    constants = [_fp8("weights", [OUTPUTS, INPUTS]), _ones("scale"), _fp8("zero", []), one]
    with pytest.raises(Exception, match=r"CUDA failure 901.*EndCapture"):  # ONNX Runtime raises its own types
        capture(_product(nodes, constants, TensorProto.FLOAT16), {"B": 8}, {}, log)


def _product(nodes: list[NodeProto], constants: list[TensorProto], kind: int) -> ModelProto:
    x = helper.make_tensor_value_info("x", kind, ["B", INPUTS])
    y = helper.make_tensor_value_info("y", kind, ["B", OUTPUTS])
    graph = helper.make_graph(nodes, "product", [x], [y], constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _zeros(name: str, kind: int, shape: list[int], item_bytes: int) -> TensorProto:
    return helper.make_tensor(name, kind, shape, bytes(int(np.prod(shape)) * item_bytes), raw=True)


def _fp8(name: str, shape: list[int]) -> TensorProto:
    return _zeros(name, TensorProto.FLOAT8E4M3FN, shape, 1)


def _ones(name: str) -> TensorProto:
    return helper.make_tensor(name, TensorProto.FLOAT16, [], np.ones((), np.float16).tobytes(), raw=True)
