"""The codec's decoder over one frame of each row, all its state an argument and a result.

Channels lie last and every convolution is a product: the runtime's own convolution has other bits at other lengths. One
frame a call, because the bits of a sine depend on the call's length too; then streamed samples are whole ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from models.checkpoints.qwen3_tts.codec_config import DecoderConfig
from models.checkpoints.qwen3_tts.codec_decoder import CodecDecoder
from models.exporting.blocks import SpeechGraph, rotary
from models.exporting.weights import WeightFile

_HIDDEN = -1e30  # a score that softmax makes an exact zero


@dataclass
class VocoderGraph:
    graph: SpeechGraph
    values: dict[str, Tensor]
    states: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)  # [B, ...] float32 each, zeros at first

    def state(self, name: str, *shape: int) -> str:
        self.states.append((name, shape))
        return self.graph.input(name, TensorProto.FLOAT, ["B", *shape])

    def keep(self, name: str, value: str) -> None:
        self.graph.node("Identity", [value], f"{name}_out")
        self.graph.output(f"{name}_out", TensorProto.FLOAT, ["B", *dict(self.states)[name]])

    def behind_tail(self, x: str, at: str, channels: int, count: int, tail: int) -> str:
        """x [B, count, channels] behind what the layer remembers, which becomes the last `tail` of both."""
        name = f"state.{at}"
        joined = self.graph.node("Concat", [self.state(name, tail, channels), x], f"{at}.joined", axis=1)
        self.keep(name, self.slice(joined, count, count + tail, f"{at}.tail"))
        return joined

    def slice(self, x: str, first: int, last: int, output: str) -> str:
        ends = [self.graph.integers(first), self.graph.integers(last), self.graph.integers(1)]
        return self.graph.node("Slice", [x, *ends], output)

    def weights(self, at: str) -> tuple[Tensor, Tensor]:
        return self.values[f"{at}.weight"], self.values[f"{at}.bias"]

    def conv(self, x: str, at: str, count: int, dilation: int = 1) -> str:
        """A causal convolution as one product over its taps side by side."""
        weight, bias = self.weights(f"{at}.conv")
        out, channels, kernel = weight.shape
        flat = weight.permute(2, 1, 0).reshape(kernel * channels, out)
        if kernel > 1:
            x = self.behind_tail(x, at, channels, count, (kernel - 1) * dilation)
            taps = [self.slice(x, k * dilation, k * dilation + count, f"{at}.tap{k}") for k in range(kernel)]
            x = self.graph.node("Concat", taps, f"{at}.taps", axis=2)
        return self.product(x, at, flat, bias, (-1, count, out))

    def product(self, x: str, at: str, flat: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> str:
        """x [B, P, in] times flat [in, out], given out as `shape`."""
        rows = self.graph.node("Reshape", [x, self.graph.integers(-1, len(flat))], f"{at}.in")
        terms = [rows, self.graph.parameter(f"{at}.flat", flat)]
        if bias is not None:
            terms.append(self.graph.parameter(f"{at}.bias", bias))
        found = self.graph.node("Gemm", terms, f"{at}.rows")
        return self.graph.node("Reshape", [found, self.graph.integers(*shape)], f"{at}.out")

    def transposed_conv(self, x: str, at: str, count: int, rate: int) -> str:
        """`rate` positions from each and, with a kernel twice as long, the one before."""
        weight, bias = self.weights(f"{at}.conv")
        channels, out, kernel = weight.shape
        parts = [
            weight[:, :, start : start + rate] for start in range(0, kernel, rate)
        ]  # [C, out, rate] of x[t], x[t-1]
        flat = torch.cat([part.permute(0, 2, 1).reshape(channels, rate * out) for part in reversed(parts)])
        if kernel > rate:
            x = self.behind_tail(x, at, channels, count, 1)
            pair = [self.slice(x, 0, count, f"{at}.before"), self.slice(x, 1, count + 1, f"{at}.now")]
            x = self.graph.node("Concat", pair, f"{at}.pair", axis=2)
        return self.product(x, at, flat, bias.repeat(rate), (-1, count * rate, out))

    def depthwise_conv(self, x: str, at: str, count: int) -> str:
        weight, bias = self.weights(f"{at}.conv")
        channels, _, kernel = weight.shape
        x = self.behind_tail(x, at, channels, count, kernel - 1)
        found = self.graph.parameter(f"{at}.bias", bias)
        for k in range(kernel):
            tap = self.graph.parameter(f"{at}.tap{k}.weight", weight[:, 0, k])
            product = self.graph.node("Mul", [self.slice(x, k, k + count, f"{at}.tap{k}"), tap], f"{at}.product{k}")
            found = self.graph.node("Add", [product, found], f"{at}.sum{k}")
        return found

    def snake(self, x: str, at: str) -> str:
        alpha, beta = self.values[f"{at}.alpha"].exp(), 1.0 / (self.values[f"{at}.beta"].exp() + 1e-9)
        phase = self.graph.node("Mul", [x, self.graph.parameter(f"{at}.alpha", alpha)], f"{at}.phase")
        sine = self.graph.node("Sin", [phase], f"{at}.sine")
        square = self.graph.node("Mul", [sine, sine], f"{at}.square")
        part = self.graph.node("Mul", [square, self.graph.parameter(f"{at}.beta", beta)], f"{at}.part")
        return self.graph.node("Add", [x, part], f"{at}.out")

    def residual_unit(self, x: str, at: str, count: int, dilation: int) -> str:
        y = self.conv(self.snake(x, f"{at}.act1"), f"{at}.conv1", count, dilation)
        y = self.conv(self.snake(y, f"{at}.act2"), f"{at}.conv2", count)
        return self.graph.node("Add", [x, y], f"{at}.out")

    def conv_next(self, x: str, at: str, count: int) -> str:
        graph, width = self.graph, len(self.values[f"{at}.gamma"])
        y = self.depthwise_conv(x, f"{at}.dwconv", count)
        names = f"{at}.norm.weight", f"{at}.norm.bias"
        scale, shift = (graph.parameter(name, self.values[name]) for name in names)
        y = graph.node("LayerNormalization", [y, scale, shift], f"{at}.normed", axis=-1, epsilon=1e-6)
        weight, bias = self.weights(f"{at}.pwconv1")
        y = graph.node(
            "Gelu", [self.product(y, f"{at}.pwconv1", weight.T, bias, (-1, count, len(weight)))], f"{at}.gelu"
        )
        weight, bias = self.weights(f"{at}.pwconv2")
        gamma = self.values[f"{at}.gamma"]
        y = self.product(y, f"{at}.pwconv2", (weight * gamma[:, None]).T, bias * gamma, (-1, count, width))
        return graph.node("Add", [x, y], f"{at}.out")


def vocoder_graph(
    decoder: CodecDecoder, weights: WeightFile, positions: int
) -> tuple[onnx.ModelProto, list[tuple[str, tuple[int, ...]]]]:
    """-> the graph, and its states by name without their batch axis. `positions`: frames that a stream may have."""
    config, graph = decoder.config, SpeechGraph(weights)
    made = VocoderGraph(graph, {name: value.detach() for name, value in decoder.state_dict().items()})
    x = made.conv(_quantized(made, config), "pre_conv", 1)
    x = _transformer(made, x, config, positions)
    count = 1
    for number, rate in enumerate(config.upsampling_ratios):
        x = made.transposed_conv(x, f"upsample.{number}.0", count, rate)
        count *= rate
        x = made.conv_next(x, f"upsample.{number}.1", count)
    x = made.conv(x, "decoder.0", count)
    for number, rate in enumerate(config.upsample_rates, 1):
        at = f"decoder.{number}.block"
        x = made.transposed_conv(made.snake(x, f"{at}.0"), f"{at}.1", count, rate)
        count *= rate
        for place, dilation in enumerate((1, 3, 9), 2):
            x = made.residual_unit(x, f"{at}.{place}", count, dilation)
    number = len(config.upsample_rates) + 1
    x = made.conv(made.snake(x, f"decoder.{number}"), f"decoder.{number + 1}", count)
    clipped = graph.node("Clip", [x, graph.floats("least", -1.0), graph.floats("most", 1.0)], "clipped")
    graph.node("Reshape", [clipped, graph.integers(-1, count)], "samples")
    graph.output("samples", TensorProto.FLOAT, ["B", count])
    return graph.model("qwen3_tts_vocoder"), made.states


def _quantized(made: VocoderGraph, config: DecoderConfig) -> str:
    """Codes to the sum of their vectors. Each codebook's output projection is multiplied out beforehand."""
    tables = []
    for part, count in (("first", 1), ("rest", config.num_quantizers - 1)):
        at = f"quantizer.rvq_{part}"
        projection = made.values[f"{at}.output_proj.weight"][:, :, 0]
        for q in range(count):
            book = f"{at}.vq.layers.{q}._codebook"
            usage = made.values[f"{book}.cluster_usage"].clamp(min=1e-5)
            tables.append(made.values[f"{book}.embedding_sum"] / usage[:, None] @ projection.T)
    graph, count = made.graph, config.num_quantizers
    graph.input("codes", TensorProto.INT64, ["B", count])
    starts = graph.exact("codes.starts", np.arange(count)[None] * config.codebook_size)
    rows = graph.node("Add", ["codes", starts], "codes.rows")
    vectors = graph.table_rows("codebooks", torch.cat(tables), rows, "codes.vectors")  # [B, Q, codebook_dim]
    return graph.node("MatMul", [graph.floats("codes.ones", np.ones((1, count))), vectors], "codes.sum")


def _transformer(made: VocoderGraph, x: str, config: DecoderConfig, positions: int) -> str:
    graph, width = made.graph, config.hidden_size
    graph.input("made", TensorProto.INT64, ["B"])  # frames before this one
    cosine, sine = rotary(graph, "codec", positions, config.head_dim, config.rope_theta)
    places = graph.node("Reshape", ["made", graph.integers(-1, 1)], "made.rows")
    rotation = graph.node("Gather", [cosine, places], "turn.cosine"), graph.node("Gather", [sine, places], "turn.sine")
    ages = graph.exact("window.ages", np.arange(config.sliding_window - 1, -1, -1)[None])
    unseen = graph.node("Greater", [ages, places], "window.unseen")
    mask = graph.node(
        "Where", [unseen, graph.floats("hidden_score", _HIDDEN), graph.floats("zero", 0.0)], "window.scores"
    )
    mask = graph.node("Reshape", [mask, graph.integers(-1, 1, 1, config.sliding_window)], "window.mask")
    at = "pre_transformer."
    weight, bias = made.weights(f"{at}input_proj")
    x = made.product(x, f"{at}input_proj", weight.T, bias, (-1, width))
    for layer in range(config.num_hidden_layers):
        x = _layer(made, x, config, f"{at}layers.{layer}.", rotation, mask)
    x = graph.rms_norm(x, f"{at}norm", made.values[f"{at}norm.weight"], config.rms_norm_eps, f"{at}normed")
    weight, bias = made.weights(f"{at}output_proj")
    return made.product(x, f"{at}output_proj", weight.T, bias, (-1, 1, config.latent_dim))


def _layer(made: VocoderGraph, x: str, config: DecoderConfig, at: str, rotation: tuple[str, str], mask: str) -> str:
    """x [B, width]. The window's keys and values are the state: [W, heads, D], the newest last."""
    graph, values, heads, dim = made.graph, made.values, config.num_attention_heads, config.head_dim
    window, kv_heads = config.sliding_window, config.num_key_value_heads

    def normed(value: str, name: str) -> str:
        return graph.rms_norm(
            value, f"{at}{name}", values[f"{at}{name}.weight"], config.rms_norm_eps, f"{at}{name}.out"
        )

    def scaled(value: str, product: str, scale: str) -> str:
        weight = values[f"{at}{product}.weight"] * values[f"{at}{scale}.scale"][:, None]
        return graph.product(value, f"{at}{product}", weight, f"{at}{product}.out")

    n = normed(x, "input_layernorm")
    packed = torch.cat([values[f"{at}self_attn.{kind}_proj.weight"] for kind in "qkv"])
    sizes = graph.integers(heads * dim, kv_heads * dim, kv_heads * dim)
    packed_out = graph.product(n, f"{at}qkv", packed, f"{at}qkv.out")
    graph.node("Split", [packed_out, sizes], [f"{at}q", f"{at}k", f"{at}v"], axis=-1)
    query = _turned(made, f"{at}q", heads, dim, rotation)
    seen = {}
    for kind, value in (("k", _turned(made, f"{at}k", kv_heads, dim, rotation)), ("v", f"{at}v")):
        row = graph.node("Reshape", [value, graph.integers(-1, 1, kv_heads * dim)], f"{at}{kind}.row")
        joined = made.behind_tail(row, f"{at}{kind}", kv_heads * dim, 1, window - 1)
        apart = graph.node("Reshape", [joined, graph.integers(-1, window, kv_heads, dim)], f"{at}{kind}.apart")
        seen[kind] = graph.node(
            "Transpose", [apart], f"{at}{kind}.seen", perm=[0, 2, 3, 1] if kind == "k" else [0, 2, 1, 3]
        )
    group = heads // kv_heads
    query = graph.node("Reshape", [query, graph.integers(-1, kv_heads, group, dim)], f"{at}q.groups")
    scores = graph.node("MatMul", [query, seen["k"]], f"{at}scores")
    scores = graph.node("Mul", [scores, graph.floats(f"scale{dim}", 1 / math.sqrt(dim))], f"{at}scaled")
    shares = graph.node("Softmax", [graph.node("Add", [scores, mask], f"{at}masked")], f"{at}shares", axis=-1)
    mixed = graph.node("MatMul", [shares, seen["v"]], f"{at}mixed")
    flat = graph.node("Reshape", [mixed, graph.integers(-1, heads * dim)], f"{at}mixed.row")
    x = graph.node("Add", [x, scaled(flat, "self_attn.o_proj", "self_attn_layer_scale")], f"{at}x1")
    both = torch.cat([values[f"{at}mlp.gate_proj.weight"], values[f"{at}mlp.up_proj.weight"]])
    gate_up = graph.product(normed(x, "post_attention_layernorm"), f"{at}gate_up", both, f"{at}gate_up.out")
    hidden = config.intermediate_size
    graph.node("Split", [gate_up, graph.integers(hidden, hidden)], [f"{at}gate", f"{at}up"], axis=-1)
    product = graph.node("Mul", [graph.silu(f"{at}gate", f"{at}silu"), f"{at}up"], f"{at}product")
    return graph.node("Add", [x, scaled(product, "mlp.down_proj", "mlp_layer_scale")], f"{at}x2")


def _turned(made: VocoderGraph, x: str, heads: int, dim: int, rotation: tuple[str, str]) -> str:
    """x [B, heads * dim] -> [B, heads, dim], the first half of each head turned with the second."""
    graph = made.graph
    apart = graph.node("Reshape", [x, graph.integers(-1, heads, dim)], f"{x}.heads")
    halves = [f"{x}.first", f"{x}.second"]
    graph.node("Split", [apart], halves, axis=2, num_outputs=2)
    parts = {
        f"{half}.{name}": graph.node("Mul", [half, factor], f"{half}.{name}")
        for half in halves
        for name, factor in zip(("cosine", "sine"), rotation)
    }
    first = graph.node("Sub", [parts[f"{x}.first.cosine"], parts[f"{x}.second.sine"]], f"{x}.first.turned")
    second = graph.node("Add", [parts[f"{x}.second.cosine"], parts[f"{x}.first.sine"]], f"{x}.second.turned")
    return graph.node("Concat", [first, second], f"{x}.turned", axis=2)
