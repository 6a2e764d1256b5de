"""What the graphs of pocket-tts share: products over rows, norms, rotation, windows of a causal convolution.

Tensors are rows: [N, width], or channels last, [B, T, width]. A convolution is a product over its windows laid side by
side, since the runtime's own has other bits for other chunk lengths (DESIGN: streamed equals whole, bit for bit).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from models.graph import MICROSOFT, Graph

Float = NDArray[np.float32]
END = 1 << 40  # of a slice that goes to the end


class Layers(Graph):
    def __init__(self, half: bool = True) -> None:
        """With `half` large constants are stored in half precision, else as they are."""
        super().__init__()
        self._half = half

    def weight(self, name: str, value: NDArray[Any]) -> str:
        if self._half:
            return super().weight(name, value)
        return self.node("Cast", [self.exact(f"{name}.stored", value)], name, to=TensorProto.FLOAT)

    def constant(self, name: str, *values: int) -> str:
        return self.exact(name, np.array(values))

    def linear(self, x: str, weight: Float, name: str, bias: Float | None = None) -> str:
        """x [N, inputs], weight [outputs, inputs], as torch has it -> [N, outputs]"""
        made = self.node("Gemm", [x, self.weight(f"{name}.weight", np.ascontiguousarray(weight.T))], f"{name}.product")
        return made if bias is None else self.node("Add", [made, self.exact(f"{name}.bias", bias)], name)

    def over_time(self, x: str, weight: Float, name: str, bias: Float) -> str:
        """x [B, T, inputs] -> [B, T, outputs]"""
        kept = self.weight(f"{name}.weight", np.ascontiguousarray(weight.T))
        made = self.node("MatMul", [x, kept], f"{name}.product")
        return self.node("Add", [made, self.exact(f"{name}.bias", bias)], name)

    def layer_norm(self, x: str, name: str, scale: Float, shift: Float | None, epsilon: float = 1e-5) -> str:
        inputs = [x, self.exact(f"{name}.gain", scale)]
        if shift is not None:
            inputs.append(self.exact(f"{name}.offset", shift))
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=epsilon)

    def gelu(self, x: str, name: str) -> str:
        """The tanh form."""
        return self.node("FastGelu", [x], name, domain=MICROSOFT)

    def silu(self, x: str, name: str) -> str:
        return self.node("QuickGelu", [x], name, domain=MICROSOFT, alpha=1.0)

    def slice(self, x: str, first: int, last: int, axis: int, name: str) -> str:
        bounds = [self.constant(f"{name}.{end}", value) for end, value in (("first", first), ("last", last))]
        return self.node("Slice", [x, *bounds, self.constant(f"{name}.axis", axis)], name)

    def state(self, name: str, shape: list[int]) -> str:
        """An input [B, *shape], whose successor is the output `name`_out."""
        self.output(f"{name}_out", TensorProto.FLOAT, ["B", *shape])
        return self.input(name, TensorProto.FLOAT, ["B", *shape])

    def windows(self, x: str, width: int, taps: int, name: str, state: str) -> str:
        """x [B, T, width] -> [B, T, taps * width]: each step behind the taps - 1 before it."""
        past = self.state(state, [taps - 1, width])
        joined = self.node("Concat", [past, x], f"{name}.joined", axis=1)
        self.slice(joined, 1 - taps, END, 1, f"{state}_out")
        parts = [
            self.slice(joined, tap, END if tap == taps - 1 else tap - taps + 1, 1, f"{name}.tap{tap}")
            for tap in range(taps)
        ]
        return self.node("Concat", parts, f"{name}.windows", axis=2)


def rotations(head_dim: int, positions: int, period: float) -> tuple[Float, Float]:
    """-> cosines and sines [positions, head_dim / 2]"""
    frequencies = np.exp(np.arange(head_dim // 2) * (-math.log(period) * 2 / head_dim))
    angles = np.arange(positions)[:, None] * frequencies
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def halves(head_dim: int) -> NDArray[np.int64]:
    """Where each value of a head goes so that its halves rotate against each other. pocket-tts rotates neighbours."""
    return np.concatenate([np.arange(0, head_dim, 2), np.arange(1, head_dim, 2)])


def queries_keys_values(weight: Float, heads: int, kv_heads: int, head_dim: int) -> Float:
    """The projection [(heads + 2 kv_heads) head_dim, width] with queries scaled, and queries and keys in halves."""
    scaled = weight.copy()
    scaled[: heads * head_dim] *= np.float32(head_dim**-0.5)
    turned = [head * head_dim + halves(head_dim) for head in range(heads + kv_heads)]
    values = np.arange((heads + kv_heads) * head_dim, len(weight))
    return scaled[np.concatenate([*turned, values])]
