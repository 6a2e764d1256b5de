"""The head that makes a frame of noise and of what the transformer says, in one step (MAR's diffusion head with
adaptive norms, arXiv 2406.11838; Lagrangian self-distillation, arXiv 2505.18825).

With one step from time 0 to 1 the time conditions are constants: they are added to a bias here.
"""

from __future__ import annotations

import numpy as np

from models.checkpoints.pocket.config import Flow
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.layers import Float, Layers

_EPSILON = 1e-6
_TIMES = (0.0, 1.0)  # where the step of `lsd` begins and ends


def flow_head(graph: Layers, flow: Flow, weights: Weights, z: str) -> None:
    """z [B, condition], input noise [B, W] -> output frames [B, W]"""
    shift = weights["cond_embed.bias"]
    if flow.type == "lsd":
        shift = shift + sum(_time_embedding(weights, at, time) for at, time in enumerate(_TIMES)) / len(_TIMES)
    condition = graph.silu(graph.linear(z, weights["cond_embed.weight"], "condition", shift), "conditioned")
    modulation = _modulation(graph, flow, weights, condition)
    x = graph.linear("noise", weights["input_proj.weight"], "flow_in", weights["input_proj.bias"])
    for block in range(flow.depth):
        at, name = f"res_blocks.{block}.", f"flow{block}."
        move, scale, gate = modulation[3 * block : 3 * block + 3]
        normed = graph.layer_norm(x, f"{name}norm", weights[f"{at}in_ln.weight"], weights[f"{at}in_ln.bias"], _EPSILON)
        scaled = graph.node("Mul", [normed, scale], f"{name}scaled")
        h = graph.node("Add", [scaled, move], f"{name}moved")
        h = graph.linear(h, weights[f"{at}mlp.0.weight"], f"{name}up", weights[f"{at}mlp.0.bias"])
        h = graph.linear(
            graph.silu(h, f"{name}silu"), weights[f"{at}mlp.2.weight"], f"{name}down", weights[f"{at}mlp.2.bias"]
        )
        x = graph.node("Add", [x, graph.node("Mul", [h, gate], f"{name}gated")], f"{name}sum")
    move, scale = modulation[-2:]
    normed = graph.layer_norm(x, "flow_norm", np.ones(flow.dim, np.float32), None, _EPSILON)
    h = graph.node("Add", [graph.node("Mul", [normed, scale], "flow_scaled"), move], "flow_moved")
    made = graph.linear(h, weights["final_layer.linear.weight"], "flow_out", weights["final_layer.linear.bias"])
    if flow.type == "drifting":
        graph.node("Identity", [made], "frames")
    else:
        graph.node("Add", ["noise", made], "frames")


def _modulation(graph: Layers, flow: Flow, weights: Weights, condition: str) -> list[str]:
    """Shift, scale and gate of each block, shift and scale of the last layer, in one product; 1 is added to scales."""
    names = [f"res_blocks.{block}.adaLN_modulation.1" for block in range(flow.depth)]
    names.append("final_layer.adaLN_modulation.1")
    shifts = [weights[f"{name}.bias"].copy() for name in names]
    for shift in shifts:
        shift[flow.dim : 2 * flow.dim] += 1
    weight = np.concatenate([weights[f"{name}.weight"] for name in names])
    made = graph.linear(condition, weight, "modulation", np.concatenate(shifts))
    parts = [f"modulation{part}" for part in range(3 * flow.depth + 2)]
    graph.node("Split", [made, graph.constant("modulation_sizes", *([flow.dim] * len(parts)))], parts, axis=-1)
    return parts


def _time_embedding(weights: Weights, index: int, time: float) -> Float:
    at = f"time_embed.{index}."
    angles = np.float32(time) * weights[f"{at}freqs"]
    x = np.concatenate([np.cos(angles), np.sin(angles)])
    x = weights[f"{at}mlp.0.weight"] @ x + weights[f"{at}mlp.0.bias"]
    x = weights[f"{at}mlp.2.weight"] @ (x / (1 + np.exp(-x))) + weights[f"{at}mlp.2.bias"]
    variance = 1e-5 + x.var(ddof=1)
    return (x * weights[f"{at}mlp.3.alpha"] / np.sqrt(variance)).astype(np.float32)
