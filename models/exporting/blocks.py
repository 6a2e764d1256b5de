"""Graph pieces that exported speech models share: weights of published precision, norms, Qwen3 blocks.

Rows and steps lie in one axis between attention nodes: products over two axes have the same bits at every batch size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from models.exporting.weights import WeightFile
from models.graph import MICROSOFT, Graph


class SpeechGraph(Graph):
    """A graph whose weights lie in a file and keep the precision of the checkpoint: bfloat16 ones are stored so and
    cast once at load."""

    def __init__(self, weights: WeightFile, steps: Mapping[str, float] | None = None) -> None:
        """`steps`: of int8 for what enters each block's products, by the product's name, as `calibration` finds them;
        without them products are float32."""
        super().__init__()
        self._weights, self._steps = weights, steps
        self._declared = set[str]()
        self.entering: list[tuple[str, str]] = []  # of each block's product: its name, what enters it

    def parameter(self, name: str, value: Tensor) -> str:
        """A float32 constant."""
        if name in self._declared:
            return name
        self._declared.add(name)
        half = value.to(torch.bfloat16)
        if value.dtype == torch.float32 and torch.equal(half.float(), value):
            self.constants.append(self._weights.tensor(f"{name}.bf16", half))
            return self.node("Cast", [f"{name}.bf16"], name, to=TensorProto.FLOAT)
        self.constants.append(self._weights.tensor(name, value.float()))
        return name

    def table_rows(self, name: str, table: Tensor, rows: str, output: str) -> str:
        """Rows of a table, cast behind the look-up so that it stays small in memory."""
        half = table.to(torch.bfloat16)
        exact = torch.equal(half.float(), table.float())
        stored = f"{name}.{'bf16' if exact else 'f32'}"
        if stored not in self._declared:
            self._declared.add(stored)
            self.constants.append(self._weights.tensor(stored, half if exact else table.float()))
        if not exact:
            return self.node("Gather", [stored, rows], output)
        return self.node("Cast", [self.node("Gather", [stored, rows], f"{output}.bf16")], output, to=TensorProto.FLOAT)

    def integers(self, *values: int, kind: Any = np.int64) -> str:
        name = f"int.{'_'.join(map(str, values))}.{np.dtype(kind).name}"
        if name not in self._declared:
            self._declared.add(name)
            self.exact(name, np.array(values, kind))
        return name

    def floats(self, name: str, value: Any) -> str:
        if name not in self._declared:
            self._declared.add(name)
            self.exact(name, np.asarray(value, np.float32))
        return name

    def product(self, x: str, name: str, weight: Tensor, output: str, bias: Tensor | None = None) -> str:
        """x [N, in] times weight [out, in], as torch.nn.Linear stores it."""
        terms = [x, self.parameter(name, weight.T)]
        if bias is not None:
            terms.append(self.parameter(f"{name}.bias", bias))
        return self.node("Gemm", terms, output)

    def block_product(self, x: str, name: str, weight: Tensor, output: str) -> str:
        """As `product`, in int8 where steps are given: one scale for each output channel of the weight, one fixed
        beforehand for x, so that a row's bits do not depend on its neighbours."""
        self.entering.append((name, x))
        if self._steps is None:
            return self.product(x, name, weight, output)
        stored = f"{name}.int8", f"{name}.scales", f"{name}.zeros"
        if stored[0] not in self._declared:
            self._declared.add(stored[0])
            scales = weight.abs().amax(dim=1).clamp(min=1e-8).float() / 127
            codes = (weight / scales[:, None]).round().to(torch.int8).T.contiguous()
            for constant, value in zip(stored, (codes, scales, torch.zeros(len(weight), dtype=torch.int8))):
                self.constants.append(self._weights.tensor(constant, value))
            self.exact(f"{name}.zero", np.array(0, np.int8))
        entering = [self.floats(f"{name}.step", self._steps[name]), f"{name}.zero"]
        rounded = self.node("QuantizeLinear", [x, *entering], f"{output}.rounded")
        # A pair of its own for each product: a shared one is not fused with it and would be undone at every call.
        left = self.node("DequantizeLinear", [rounded, *entering], f"{output}.left")
        right = self.node("DequantizeLinear", [*stored], f"{output}.right", axis=1)
        return self.node("Gemm", [left, right], output)

    def rms_norm(self, x: str, name: str, weight: Tensor, eps: float, output: str) -> str:
        scale = self.parameter(name, weight)
        return self.node("SimplifiedLayerNormalization", [x, scale], output, axis=-1, epsilon=eps, stash_type=1)

    def silu(self, x: str, output: str) -> str:
        return self.node("QuickGelu", [x], output, domain=MICROSOFT, alpha=1.0)

    def reshaped(self, x: str, lead: str, widths: tuple[int, ...], output: str) -> str:
        """[B * S, ...] -> lead [B, S] + widths"""
        shape = f"{lead}.to.{'_'.join(map(str, widths))}"
        if shape not in self._declared:
            self._declared.add(shape)
            self.node("Concat", [lead, self.integers(*widths)], shape, axis=0)
        return self.node("Reshape", [x, shape], output)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Names of what a grouped-query attention node is told, and of its rotary tables."""

    last: str  # [B] int32: positions in the cache behind the call, less one
    total: str  # [1] int32: the longest of them
    cosine: str
    sine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    heads: int
    kv_heads: int
    head_dim: int
    eps: float


def rotary(graph: SpeechGraph, name: str, positions: int, head_dim: int, theta: float) -> tuple[str, str]:
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim)
    angles = torch.arange(positions).float()[:, None] * frequencies
    return graph.parameter(f"{name}.cosine", angles.cos()), graph.parameter(f"{name}.sine", angles.sin())


def qwen3_block(
    graph: SpeechGraph,
    weights: dict[str, Tensor],
    shape: BlockShape,
    at: str,
    x: str,
    lead: str,
    lengths: Lengths,
    past: tuple[str, str],
    call: str = "",
) -> tuple[str, tuple[str, str]]:
    """x [N, width] -> [N, width] and the names of its keys and values. `at` is the layer's place in the checkpoint,
    `call` tells apart several uses of it in one graph."""
    here = f"{at}{call}"
    heads, kv_heads, head_dim = shape.heads, shape.kv_heads, shape.head_dim

    def norm(value: str, name: str, output: str) -> str:
        return graph.rms_norm(value, f"{at}{name}", weights[f"{at}{name}.weight"], shape.eps, f"{here}{output}")

    def normed_heads(value: str, kind: str, count: int) -> str:
        split = graph.reshaped(value, lead, (count, head_dim), f"{here}{kind}.heads")
        split = norm(split, f"self_attn.{kind}_norm", f"{kind}.normed")
        return graph.reshaped(split, lead, (count * head_dim,), f"{here}{kind}.steps")

    packed_weight = torch.cat([weights[f"{at}self_attn.{kind}_proj.weight"] for kind in "qkv"])
    packed = graph.block_product(norm(x, "input_layernorm", "n1"), f"{at}qkv", packed_weight, f"{here}qkv.out")
    sizes = graph.integers(heads * head_dim, kv_heads * head_dim, kv_heads * head_dim)
    graph.node("Split", [packed, sizes], [f"{here}q", f"{here}k", f"{here}v"], axis=-1)
    query, key = normed_heads(f"{here}q", "q", heads), normed_heads(f"{here}k", "k", kv_heads)
    value = graph.reshaped(f"{here}v", lead, (kv_heads * head_dim,), f"{here}v.steps")
    present = f"{here}present_k", f"{here}present_v"
    graph.node(
        "GroupQueryAttention",
        [query, key, value, *past, lengths.last, lengths.total, lengths.cosine, lengths.sine],
        [f"{here}mixed", *present],
        domain=MICROSOFT,
        num_heads=heads,
        kv_num_heads=kv_heads,
        do_rotary=1,
    )
    flat = graph.node("Reshape", [f"{here}mixed", graph.integers(-1, heads * head_dim)], f"{here}mixed.rows")
    out = graph.block_product(flat, f"{at}o", weights[f"{at}self_attn.o_proj.weight"], f"{here}o.out")
    x = graph.node("Add", [x, out], f"{here}x1")
    both = torch.cat([weights[f"{at}mlp.gate_proj.weight"], weights[f"{at}mlp.up_proj.weight"]])
    gate_up = graph.block_product(norm(x, "post_attention_layernorm", "n2"), f"{at}gate_up", both, f"{here}gate_up.out")
    hidden = len(both) // 2
    graph.node("Split", [gate_up, graph.integers(hidden, hidden)], [f"{here}gate", f"{here}up"], axis=-1)
    product = graph.node("Mul", [graph.silu(f"{here}gate", f"{here}silu"), f"{here}up"], f"{here}product")
    down = graph.block_product(product, f"{at}down", weights[f"{at}mlp.down_proj.weight"], f"{here}down.out")
    return graph.node("Add", [x, down], f"{here}x2"), present
