"""Kokoro's graph with the residual blocks of its vocoder, where nine tenths of its time go, in torch.

The int8 graph unfolds whole inputs for its integer convolutions; in bfloat16, with channels innermost, they take half
the time on a processor that has it. The rest of the graph runs as it is, cut before the blocks and behind them. Weights
are the graph's own, multiplied by their scales: float32 and bfloat16 differ from the int8 graph alike (14 to 19 dB
below the samples, most of it phase).

F frames of 25 ms; style [1, 128]; into the blocks come x [1, 512, 2 F] and noise [1, 256, 20 F], [1, 128, 120 F + 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_GENERATOR = "/decoder/decoder/generator"
_STYLE = "/decoder/Slice_output_0"
_INPUTS = (
    "/decoder/decoder/decode.3/Div_4_output_0",
    f"{_GENERATOR}/noise_convs.0/Conv_output_0",
    f"{_GENERATOR}/noise_convs.1/Conv_output_0",
    _STYLE,
)
_OUTPUT = f"{_GENERATOR}/Div_4_output_0"
_STRIDES = ((10, 5), (6, 3))  # of the two steps up, and their padding
_DILATIONS = (1, 3, 5)
_VARIANCE_FLOOR = 1e-5
_INTEGER = "ConvInteger", "MatMulInteger"


class _Weights:
    """Of the graph's nodes, as floats."""

    def __init__(self, graph: Any) -> None:
        self._values = {one.name: one for one in graph.initializer}
        self._nodes = {node.name: node for node in graph.node}

    def named(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(onnx.numpy_helper.to_array(self._values[name]), np.float32))

    def of(self, node: str) -> Tensor:
        """Of a node of integers: data, weight, zero points of both."""
        assert self._nodes[node].op_type in _INTEGER, f"{node} is a {self._nodes[node].op_type}"
        _, weight, _, zero_point = self._nodes[node].input
        return (self.named(weight) - self.named(zero_point)) * self.named(weight.removesuffix("quantized") + "scale")

    def constants(self, node: str) -> list[Tensor]:
        return [self.named(name) for name in self._nodes[node].input if name in self._values]


def _styled_snake(x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor) -> Tensor:
    """Instance norm, the style's gain and bias, then x + sin^2(alpha x) / alpha. [1, C, 1, T] -> the same."""
    wide = x.float()
    centred = wide - wide.mean(3, keepdim=True)
    scale = gain * torch.rsqrt((centred * centred).mean(3, keepdim=True) + _VARIANCE_FLOOR)
    y = centred * scale + bias
    return (y + torch.sin(alpha * y).square() / alpha).to(x.dtype)


def _as_image(values: Tensor) -> Tensor:
    """[..., C, T] -> [..., C, 1, T], channels innermost in memory, as convolutions want them."""
    return values[..., None, :].to(memory_format=torch.channels_last)


class _Block:
    """Six convolutions, each behind a norm that the style sets."""

    def __init__(self, weights: _Weights, name: str, dtype: torch.dtype) -> None:
        path, stem = f"{_GENERATOR}/{name}", f"decoder.decoder.generator.{name}"
        self._layers = [
            (
                _as_image(weights.of(f"{path}/convs{half}.{at}/Conv_quant").to(dtype)),
                weights.named(f"{stem}.convs{half}.{at}.bias").to(dtype),
                weights.of(f"{path}/adain{half}.{at}/fc/Gemm_MatMul_quant"),
                weights.named(f"{stem}.adain{half}.{at}.fc.bias"),
                weights.named(f"{stem}.alpha{half}.{at}")[..., None],
                _DILATIONS[at] if half == 1 else 1,
            )
            for at in range(3)
            for half in (1, 2)
        ]

    def __call__(self, x: Tensor, style: Tensor, snake: Callable[..., Tensor]) -> Tensor:
        inner = x
        for place, (kernel, bias, of_style, style_bias, alpha, dilation) in enumerate(self._layers):
            gain, offset = (style @ of_style + style_bias)[:, :, None, None].chunk(2, dim=1)
            inner = snake(inner, 1 + gain, offset, alpha)
            padding = dilation * (kernel.shape[3] - 1) // 2
            inner = F.conv2d(inner, kernel, bias, padding=(0, padding), dilation=(1, dilation))
            if place % 2:
                x = inner = x + inner
        return x


class _Blocks:
    def __init__(self, graph: Any, dtype: torch.dtype) -> None:
        weights = _Weights(graph)
        self._dtype = dtype
        self._noise = [_Block(weights, f"noise_res.{at}", dtype) for at in range(2)]
        self._main = [[_Block(weights, f"resblocks.{3 * stage + at}", dtype) for at in range(3)] for stage in range(2)]
        self._up = [[one.to(dtype) for one in weights.constants(f"{_GENERATOR}/ups.{n}/ConvTranspose")] for n in (0, 1)]
        self._snake = torch.compile(_styled_snake, dynamic=True)

    @torch.inference_mode()
    def run(self, x: Tensor, *noise_and_style: Tensor) -> Tensor:
        *noise, style = noise_and_style
        for stage, (stride, padding) in enumerate(_STRIDES):
            kernel, bias = self._up[stage]
            x = F.leaky_relu(x, 0.1).to(self._dtype)
            x = F.conv_transpose1d(x, kernel, bias, stride=stride, padding=padding)
            if stage == 1:
                x = F.pad(x, (1, 0), mode="reflect")
            source = self._noise[stage](_as_image(noise[stage].to(self._dtype)), style, self._snake)
            inner = _as_image(x) + source
            found = [block(inner, style, self._snake) for block in self._main[stage]]
            x = torch.stack(found).float().mean(0)[:, :, 0]
        return x


class SplitGraph:
    """Takes and gives what the graph does."""

    def __init__(self, model: Any, session: Callable[[bytes], Any], dtype: torch.dtype = torch.bfloat16) -> None:
        """`session` makes one of a serialised graph."""
        whole = onnx.utils.Extractor(model)
        inputs = [one.name for one in model.graph.input]
        self._results = [one.name for one in model.graph.output if one.name != "audio"]
        self._front = session(whole.extract_model(inputs, [*self._results, *_INPUTS]).SerializeToString())
        self._back = session(whole.extract_model([_OUTPUT], ["audio"]).SerializeToString())
        self._blocks = _Blocks(model.graph, dtype)

    def run(self, outputs: list[str], given: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        found = self._front.run([*self._results, *_INPUTS], given)
        results, seen = found[: len(self._results)], [torch.from_numpy(one) for one in found[len(self._results) :]]
        (audio,) = self._back.run(["audio"], {_OUTPUT: self._blocks.run(*seen).numpy()})
        by_name = {"audio": audio, **dict(zip(self._results, results, strict=True))}
        return [by_name[name] for name in outputs]
