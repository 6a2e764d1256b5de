"""The residual block in torch against the same written out in NumPy, over a small graph with Kokoro's names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper

from models.teachers.kokoro import generator

CHANNELS, STYLE, KERNEL = 6, 4, 3
PATH = "/decoder/decoder/generator/resblocks.0"
STEM = "decoder.decoder.generator.resblocks.0"
LAYERS = [(half, at) for at in range(3) for half in (1, 2)]


class Graph:
    """Random integers with scales and zero points; `floats` holds what they stand for."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.floats = dict[str, NDArray[np.float32]]()
        self.values, self.nodes = list[onnx.TensorProto](), list[onnx.NodeProto]()
        for half, at in LAYERS:
            self.integers("ConvInteger", f"convs{half}.{at}/Conv_quant", (CHANNELS, CHANNELS, KERNEL))
            self.integers("MatMulInteger", f"adain{half}.{at}/fc/Gemm_MatMul_quant", (STYLE, 2 * CHANNELS))
            self.plain(f"{STEM}.convs{half}.{at}.bias", (CHANNELS,))
            self.plain(f"{STEM}.adain{half}.{at}.fc.bias", (2 * CHANNELS,))
            self.plain(f"{STEM}.alpha{half}.{at}", (1, CHANNELS, 1))
        graph = helper.make_graph(self.nodes, "kokoro", [], [], self.values)
        self.weights = generator._Weights(graph)

    def plain(self, name: str, shape: tuple[int, ...]) -> None:
        self.floats[name] = self.random.uniform(0.5, 1.5, shape).astype(np.float32)
        self.values.append(onnx.numpy_helper.from_array(self.floats[name], name))

    def integers(self, kind: str, name: str, shape: tuple[int, ...]) -> None:
        node = f"{PATH}/{name}"
        value, scale = self.random.integers(0, 256, shape).astype(np.uint8), np.float32(0.002)
        zero = np.array(self.random.integers(100, 150), np.uint8)
        for ending, content in (("quantized", value), ("scale", np.array(scale)), ("zero", zero)):
            self.values.append(onnx.numpy_helper.from_array(content, f"{node}.{ending}"))
        inputs = ["data", f"{node}.quantized", "data_zero", f"{node}.zero"]
        self.nodes.append(helper.make_node(kind, inputs, [f"{node}.out"], name=node))
        self.floats[node] = (value.astype(np.float32) - float(zero)) * scale

    def convolved(self, x: NDArray[np.float32], half: int, at: int) -> NDArray[np.float32]:
        kernel, dilation = self.floats[f"{PATH}/convs{half}.{at}/Conv_quant"], (1, 3, 5)[at] if half == 1 else 1
        padded = np.pad(x, ((0, 0), (dilation, dilation)))
        taps = [padded[:, tap * dilation : tap * dilation + x.shape[1]] for tap in range(KERNEL)]
        found = sum(kernel[:, :, tap] @ taps[tap] for tap in range(KERNEL))
        return np.asarray(found + self.floats[f"{STEM}.convs{half}.{at}.bias"][:, None])

    def styled(self, x: NDArray[np.float32], style: NDArray[np.float32], half: int, at: int) -> NDArray[np.float32]:
        both = style @ self.floats[f"{PATH}/adain{half}.{at}/fc/Gemm_MatMul_quant"]
        gain, bias = np.split(both + self.floats[f"{STEM}.adain{half}.{at}.fc.bias"], 2)
        alpha = self.floats[f"{STEM}.alpha{half}.{at}"][0]
        normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        y = (1 + gain)[:, None] * normal + bias[:, None]
        return np.asarray(y + np.sin(alpha * y) ** 2 / alpha)

    def block(self, x: NDArray[np.float32], style: NDArray[np.float32]) -> NDArray[np.float32]:
        for at in range(3):
            inner = self.convolved(self.styled(x, style, 1, at), 1, at)
            x = x + self.convolved(self.styled(inner, style, 2, at), 2, at)
        return x


@pytest.mark.parametrize("seed", range(3))
def test_a_block_is_what_its_integers_stand_for(seed: int) -> None:
    graph = Graph(seed)
    x = graph.random.standard_normal((CHANNELS, 40)).astype(np.float32)
    style = graph.random.standard_normal(STYLE).astype(np.float32)
    image = generator._as_image(torch.from_numpy(x)[None])
    block = generator._Block(graph.weights, "resblocks.0", torch.float32)
    found = block(image, torch.from_numpy(style)[None], generator._styled_snake)
    np.testing.assert_allclose(found[0, :, 0].numpy(), graph.block(x, style), rtol=1e-4, atol=1e-4)


def test_a_node_of_another_kind_is_named() -> None:
    node = helper.make_node("Conv", ["data", "w"], ["y"], name="/decoder/Conv")
    weights = generator._Weights(helper.make_graph([node], "kokoro", [], []))
    with pytest.raises(AssertionError, match="/decoder/Conv is a Conv"):
        weights.of("/decoder/Conv")
