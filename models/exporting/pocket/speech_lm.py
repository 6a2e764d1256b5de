"""The speech model of pocket-tts as two graphs over one cache: text into the cache, and one step that makes a frame.

    prefill   ids [B, T]                          -> keys and values
    step      latent [B, W], noise [B, W]         -> frames [B, W], end [B, 1], keys and values

Attention is the node that the engine's kernel takes: scores unscaled (the queries' weights are), halves rotating.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.flow_head import flow_head
from models.exporting.pocket.layers import Layers, queries_keys_values, rotations
from models.graph import MICROSOFT


def step_graph(config: Config, weights: Weights, positions: int, half: bool = True) -> onnx.ModelProto:
    """One frame a row. `positions`: the most that a slot holds."""
    lm, graph = part_of(weights, "flow_lm."), Layers(half)
    width = config.frame_width
    graph.input("latent", TensorProto.FLOAT, ["B", width])
    graph.input("noise", TensorProto.FLOAT, ["B", width])
    graph.node("Shape", ["latent"], "batch", start=0, end=1)
    graph.node("Concat", ["batch", graph.constant("one_step", 1)], "rows", axis=0)
    x = graph.linear("latent", lm["input_linear.weight"], "input")
    x = transformer(graph, config, lm, x, positions)
    z = graph.layer_norm(x, "out_norm", lm["out_norm.weight"], lm["out_norm.bias"])
    if config.flow_lm.z_dim:
        z = graph.linear(z, lm["z_proj.weight"], "z")
    end = graph.linear(z, lm["out_eos.weight"], "end_of_speech", lm["out_eos.bias"])
    graph.node("Identity", [end], "end")
    flow_head(graph, config.flow_lm.flow, part_of(lm, "flow_net."), z)
    graph.output("frames", TensorProto.FLOAT, ["B", width])
    graph.output("end", TensorProto.FLOAT, ["B", 1])
    return graph.model("step")


def prefill_graph(config: Config, weights: Weights, positions: int, half: bool = True) -> onnx.ModelProto:
    """T tokens of each row into the cache, in any blocks."""
    lm, graph = part_of(weights, "flow_lm."), Layers(half)
    graph.input("ids", TensorProto.INT64, ["B", "T"])
    graph.node("Shape", ["ids"], "rows")
    table = graph.weight("table", lm["conditioner.embed.weight"])
    flat = graph.node("Reshape", ["ids", graph.constant("flat_ids", -1)], "flat")
    x = graph.node("Gather", [table, flat], "embedded")
    if config.flow_lm.lookup_table.rank:
        x = graph.linear(x, lm["conditioner.proj.weight"], "projected")
    transformer(graph, config, lm, x, positions, only_cache=True)
    return graph.model("prefill")


def part_of(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def transformer(graph: Layers, config: Config, lm: Weights, x: str, positions: int, *, only_cache: bool = False) -> str:
    """x [B * T, width]; `rows` is [B, T]. With `only_cache` nothing is made of the last layer but keys and values."""
    backbone = config.flow_lm.transformer
    heads, kv_heads, dim = backbone.num_heads, backbone.kv_heads, backbone.head_dim
    graph.input("seqlens_k", TensorProto.INT32, ["B"])
    graph.input("total_len", TensorProto.INT32, [1])
    cosines, sines = rotations(dim, positions, backbone.max_period)
    graph.exact("cosines", cosines)
    graph.exact("sines", sines)
    packed_width = graph.constant("packed_width", (heads + 2 * kv_heads) * dim)
    graph.node("Concat", ["rows", packed_width], "packed_shape", axis=0)
    graph.constant("mixed_shape", -1, heads * dim)
    for layer in range(backbone.num_layers):
        at, name = f"transformer.layers.{layer}.", f"layer{layer}."
        normed = graph.layer_norm(x, f"{name}norm1", lm[f"{at}norm1.weight"], lm[f"{at}norm1.bias"])
        weight = queries_keys_values(lm[f"{at}self_attn.in_proj.weight"], heads, kv_heads, dim)
        packed = graph.node("Reshape", [graph.linear(normed, weight, f"{name}qkv"), "packed_shape"], f"{name}packed")
        for kind in "kv":
            shape: list[str | int] = ["B", kv_heads, "positions", dim]
            graph.input(f"past_{kind}{layer}", TensorProto.FLOAT, shape)
            graph.output(f"present_{kind}{layer}", TensorProto.FLOAT, shape)
        inputs = [packed, "", "", f"past_k{layer}", f"past_v{layer}", "seqlens_k", "total_len", "cosines", "sines"]
        outputs = [f"{name}mixed", f"present_k{layer}", f"present_v{layer}"]
        how = {"num_heads": heads, "kv_num_heads": kv_heads, "do_rotary": 1, "scale": 1.0}
        graph.node("GroupQueryAttention", inputs, outputs, MICROSOFT, **how)
        if only_cache and layer == backbone.num_layers - 1:
            break
        mixed = graph.node("Reshape", [f"{name}mixed", "mixed_shape"], f"{name}mixed_rows")
        made = graph.linear(mixed, lm[f"{at}self_attn.out_proj.weight"], f"{name}out")
        x = graph.node("Add", [x, made], f"{name}attended")
        normed = graph.layer_norm(x, f"{name}norm2", lm[f"{at}norm2.weight"], lm[f"{at}norm2.bias"])
        hidden = graph.gelu(graph.linear(normed, lm[f"{at}linear1.weight"], f"{name}up"), f"{name}gelu")
        x = graph.node("Add", [x, graph.linear(hidden, lm[f"{at}linear2.weight"], f"{name}down")], f"{name}sum")
    return x


def initial_cache(config: Config, rows: int, positions: int) -> dict[str, np.ndarray]:
    backbone = config.flow_lm.transformer
    shape = (rows, backbone.kv_heads, positions, backbone.head_dim)
    layers = range(backbone.num_layers)
    return {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in layers for kind in "kv"}
