"""Writes a graph of one floating-point type, each constant once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
OPSET = 24  # the first with `TensorScatter`
IR_VERSION = 11


class DeviceGraph:
    """Nodes, constants and ends under construction. `dtype` is that of weights and activations."""

    def __init__(self, dtype: str) -> None:
        self.dtype, self.type = dtype, TYPES[dtype]
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: list[str | int]) -> str:
        if name not in (one.name for one in self._inputs):
            self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: list[str | int]) -> str:
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, name: str, value: NDArray[Any]) -> str:
        """A constant of the graph's own type."""
        if name in self._constants:
            return name
        return self.constant(name, value.astype(helper.tensor_dtype_to_np_dtype(self.type)))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant of the type that it has. A name stands for one value."""
        made = numpy_helper.from_array(np.asarray(value, order="C"), name)
        assert self._constants.setdefault(name, made) == made, name
        return name

    def node(self, kind: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes: Any) -> str:
        """Returns the first output's name."""
        outputs = [output] if isinstance(output, str) else output
        self._nodes.append(
            helper.make_node(kind, inputs, outputs, name=f"{kind}:{outputs[0]}", domain=domain, **attributes)
        )
        return outputs[0]

    def reshape(self, value: str, shape: list[int], output: str) -> str:
        """0 keeps a length, -1 takes what is left. No kernel runs for it."""
        named = "shape." + ".".join(map(str, shape))
        return self.node("Reshape", [value, self.constant(named, np.array(shape))], output)

    def cast(self, value: str, kind: int, output: str) -> str:
        return self.node("Cast", [value], output, to=kind)

    def rms_norm(self, x: str, scale: str, output: str, epsilon: float) -> str:
        return self.node("SimplifiedLayerNormalization", [x, scale], output, axis=-1, epsilon=epsilon, stash_type=1)

    def to_float32(self, value: str, output: str) -> str:
        return value if self.dtype == "float32" else self.cast(value, TensorProto.FLOAT, output)

    def to_own_type(self, value: str, output: str) -> str:
        return value if self.dtype == "float32" else self.cast(value, self.type, output)

    def model(self, name: str) -> onnx.ModelProto:
        body = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)
