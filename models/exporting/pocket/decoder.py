"""The decoder of pocket-tts as one graph: frames to samples, channels last, all state by row an argument and a result.

    latents [B, F, W], position [B] -> pcm [B, F * hop]

Frames are scaled, brought to the decoder's width and its rate, go through a transformer that sees a fixed number of
steps back, and through the stages of a SEANet. A stage (elu, upsampling, a residual block) is written so that all
stages of a model are the same nodes: one kernel can stand for each.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from models.checkpoints.pocket.config import CodecTransformer, Config, Seanet
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.layers import END, Float, Layers, queries_keys_values, rotations
from models.exporting.pocket.window import window_attention

_FAR = -1e30
LONGEST_FRAMES = 256  # of one segment: the rotary tables end there


def decoder_graph(config: Config, weights: Weights, half: bool = True) -> onnx.ModelProto:
    codec, graph = config.mimi, Layers(half)
    mimi = {name.removeprefix("mimi."): value for name, value in weights.items() if name.startswith("mimi.")}
    graph.input("latents", TensorProto.FLOAT, ["B", "F", config.frame_width])
    graph.input("position", TensorProto.INT64, ["B"])
    spread = graph.exact("spread", weights["flow_lm.emb_std"])
    x = graph.node("Mul", ["latents", spread], "spread_out")
    x = graph.node("Add", [x, graph.exact("middle", weights["flow_lm.emb_mean"])], "frames_in")
    weight = mimi["quantizer.output_proj.weight"][:, :, 0]
    x = graph.over_time(x, weight, "quantizer", np.zeros(len(weight), np.float32))
    x = _upsampled(graph, x, mimi["upsample.convtr.convtr.weight"][:, 0])
    x = transformer(graph, codec.decoder_layers, mimi, x, LONGEST_FRAMES * codec.upsampling)
    x = _seanet(graph, codec.decoder, mimi, x)
    graph.node("Squeeze", [x, graph.constant("last_axis", 2)], "pcm")
    graph.output("pcm", TensorProto.FLOAT, ["B", "samples"])
    return graph.model("decoder")


def _upsampled(graph: Layers, x: str, weight: Float) -> str:
    """A transposed convolution by channel: weight [C, 2s] gives s steps of this input and of the one before it."""
    channels, steps = weight.shape[0], weight.shape[1] // 2
    past = graph.state("upsampled", [1, channels])
    joined = graph.node("Concat", [past, x], "upsampling.joined", axis=1)
    graph.slice(joined, -1, END, 1, "upsampled_out")
    before = graph.slice(joined, 0, -1, 1, "upsampling.before")
    axis = graph.constant("step_axis", 2)
    sums = []
    for name, source, taps in (("now", x, weight[:, :steps]), ("then", before, weight[:, steps:])):
        wide = graph.node("Unsqueeze", [source, axis], f"upsampling.{name}_wide")
        kept = graph.exact(f"upsampling.{name}_weight", np.ascontiguousarray(taps.T)[None, None])
        sums.append(graph.node("Mul", [wide, kept], f"upsampling.{name}"))
    made = graph.node("Add", sums, "upsampling.sum")
    return graph.node("Reshape", [made, graph.constant("upsampling.shape", 0, -1, channels)], "upsampling")


def transformer(
    graph: Layers, layers: CodecTransformer, mimi: Weights, x: str, positions: int, part: str = "decoder_transformer"
) -> str:
    """x [B, T, width]. Keys and values of the last context - 1 steps are state."""
    width, heads, dim = layers.d_model, layers.num_heads, layers.head_dim
    graph.node("Shape", [x], "steps_shape", start=0, end=2)
    graph.node("Shape", [x], "full_shape")
    for name, table in zip(("cosines", "sines"), rotations(dim, positions, layers.max_period), strict=True):
        graph.exact(name, table)
    graph.exact("near", np.array(0, np.float32))
    graph.exact("far", np.array(_FAR, np.float32))
    graph.node("Concat", ["steps_shape", graph.constant("by_head", 3 * heads, dim)], "heads_shape", axis=0)
    rows = graph.constant("rows_shape", -1, width)
    x = graph.node("Reshape", [x, rows], "transformer_in")
    for layer in range(layers.num_layers):
        at, name = f"{part}.transformer.layers.{layer}.", f"layer{layer}."
        normed = graph.layer_norm(x, f"{name}norm1", mimi[f"{at}norm1.weight"], mimi[f"{at}norm1.bias"])
        weight = queries_keys_values(mimi[f"{at}self_attn.in_proj.weight"], heads, heads, dim)
        packed = graph.node("Reshape", [graph.linear(normed, weight, f"{name}qkv"), "heads_shape"], f"{name}heads")
        mixed = window_attention(graph, packed, heads, dim, layers.context - 1, layer)
        mixed = graph.node("Reshape", [mixed, rows], f"{name}mixed_rows")
        out = mimi[f"{at}self_attn.out_proj.weight"] * mimi[f"{at}layer_scale_1.scale"][:, None]
        x = graph.node("Add", [x, graph.linear(mixed, out, f"{name}out")], f"{name}attended")
        normed = graph.layer_norm(x, f"{name}norm2", mimi[f"{at}norm2.weight"], mimi[f"{at}norm2.bias"])
        hidden = graph.gelu(graph.linear(normed, mimi[f"{at}linear1.weight"], f"{name}up"), f"{name}gelu")
        down = mimi[f"{at}linear2.weight"] * mimi[f"{at}layer_scale_2.scale"][:, None]
        x = graph.node("Add", [x, graph.linear(hidden, down, f"{name}down")], f"{name}sum")
    return graph.node("Reshape", [x, "full_shape"], "transformer_out")


def _seanet(graph: Layers, seanet: Seanet, mimi: Weights, x: str) -> str:
    """x [B, T, dimension] -> [B, T * hop, 1]"""
    x = _convolution(graph, x, mimi, "decoder.model.0.conv", "opening")
    for index, ratio in enumerate(seanet.ratios):
        x = _stage(graph, x, mimi, index, ratio)
    x = graph.node("Elu", [x], "closing.opening", alpha=1.0)
    at = f"decoder.model.{3 * len(seanet.ratios) + 2}.conv"
    weight = mimi[f"{at}.weight"]
    windows = graph.windows(x, weight.shape[1], weight.shape[2], "closing", "closing_past")
    flat = np.ascontiguousarray(weight.transpose(0, 2, 1).reshape(1, -1).T)
    made = graph.node("MatMul", [windows, graph.exact("closing.weight", flat)], "closing.product")
    return graph.node("Add", [made, graph.exact("closing.bias", mimi[f"{at}.bias"])], "closing")


def _convolution(graph: Layers, x: str, mimi: Weights, at: str, name: str) -> str:
    weight = mimi[f"{at}.weight"]
    outputs, inputs, taps = weight.shape
    windows = graph.windows(x, inputs, taps, name, f"{name}_past") if taps > 1 else x
    flat = weight.transpose(0, 2, 1).reshape(outputs, taps * inputs)
    return graph.over_time(windows, flat, name, mimi[f"{at}.bias"])


def _stage(graph: Layers, x: str, mimi: Weights, index: int, ratio: int) -> str:
    """x [B, T, C] -> [B, T * ratio, C / 2]: up(elu(x)), and a residual block of two convolutions behind it."""
    name, at = f"stage{index}", f"decoder.model.{3 * index + 2}.convtr"
    weight, bias = mimi[f"{at}.weight"], mimi[f"{at}.bias"]
    inputs, outputs, _ = weight.shape
    x = graph.node("Elu", [x], f"{name}.opening", alpha=1.0)
    windows = graph.windows(x, inputs, 2, f"{name}.up", f"{name}_up_past")
    # The input before gives the second half of its 2 * ratio steps where this one gives the first.
    taps = np.concatenate([weight[:, :, ratio:], weight[:, :, :ratio]])  # [2C, C / 2, ratio]
    flat = taps.transpose(2, 1, 0).reshape(ratio * outputs, 2 * inputs)
    made = graph.over_time(windows, flat, f"{name}.up", np.tile(bias, ratio))
    # The width from a tensor and not a number: stages are the same nodes.
    last = mimi[f"decoder.model.{3 * index + 3}.block.3.conv.bias"]
    graph.exact(f"{name}.back.bias", last)
    width = graph.node("Shape", [f"{name}.back.bias"], f"{name}.width")
    shape = graph.node("Concat", [graph.constant(f"{name}.steps", 0, -1), width], f"{name}.shape", axis=0)
    up = graph.node("Reshape", [made, shape], f"{name}.upsampled")
    block = f"decoder.model.{3 * index + 3}.block."
    h = graph.node("Elu", [up], f"{name}.first_elu", alpha=1.0)
    h = _convolution_of(graph, h, mimi[f"{block}1.conv.weight"], mimi[f"{block}1.conv.bias"], f"{name}.narrow", name)
    h = graph.node("Elu", [h], f"{name}.second_elu", alpha=1.0)
    back = mimi[f"{block}3.conv.weight"][:, :, 0]
    kept = graph.weight(f"{name}.back.weight", np.ascontiguousarray(back.T))
    product = graph.node("MatMul", [h, kept], f"{name}.back.product")
    h = graph.node("Add", [product, f"{name}.back.bias"], f"{name}.back")
    return graph.node("Add", [up, h], name)


def _convolution_of(graph: Layers, x: str, weight: Float, bias: Float, name: str, stage: str) -> str:
    outputs, inputs, taps = weight.shape
    windows = graph.windows(x, inputs, taps, name, f"{stage}_narrow_past")
    return graph.over_time(windows, weight.transpose(0, 2, 1).reshape(outputs, taps * inputs), name, bias)


def states(model: onnx.ModelProto) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of each state of a decoder, without the batch."""
    ends = {one.name for one in model.graph.output}
    return [
        (one.name, tuple(axis.dim_value for axis in one.type.tensor_type.shape.dim[1:]))
        for one in model.graph.input
        if f"{one.name}_out" in ends
    ]
