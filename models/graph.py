"""An ONNX graph written node by node, where serving wants operators that a tracer does not make."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Graph:
    """Collects nodes, constants and ends of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """A float constant, stored as float16."""
        self.constants.append(numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
        return self.node("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def exact(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes: Any) -> str:
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(
            helper.make_node(kind, inputs, outputs, name=f"{kind}:{outputs[0]}", domain=domain, **attributes)
        )
        return outputs[0]

    def input(self, name: str, kind: int, shape: list[str | int]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list[str | int]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def norm(self, x: str, scale: str, name: str) -> str:
        """`torch.nn.RMSNorm` with its weight `scale`."""
        return self.node("SimplifiedLayerNormalization", [x, scale], name, axis=-1, epsilon=1e-5, stash_type=1)

    def rows_added_up(self, table: list[str], rows: str, count: int, name: str) -> str:
        """The sum of `count` rows of a table, whose numbers are the last axis. The table's parts are put together at
        load.

        A product with ones: `ReduceSum` adds up in another order when all axes before the summed one are 1, so that a
        sequence alone would differ, by 1e-6, from the same one beside others or over several steps.
        """
        whole = self.node("Concat", table, f"{name}_table", axis=0) if len(table) > 1 else table[0]
        vectors = self.node("Gather", [whole, rows], f"{name}_rows")
        ones = self.exact(f"{name}_ones", np.ones((1, count), np.float32))
        summed = self.node("MatMul", [ones, vectors], f"{name}_kept")
        return self.node("Squeeze", [summed, self.exact(f"{name}_axis", np.array([-2]))], name)

    def model(self, name: str) -> onnx.ModelProto:
        body = helper.make_graph(self.nodes, name, self.inputs, self.outputs, initializer=self.constants)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(body, opset_imports=opsets, ir_version=10)
