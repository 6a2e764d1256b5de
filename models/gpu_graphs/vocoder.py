"""The vocoder for a GPU: R rows of F codes each to samples, the state by slot in one slab.

    slab [slots, state]: the left context of each block, the excitation's tail, the last three frames, in that order
    phase [slots]: the excitation's, in 2^-32 turns

Each row names its slot, all different, and whether it begins there. `scores` is a number where all its samples are.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from models.framing import BINS, HOP, LOOK_BACK
from models.gpu_graphs.building import MICROSOFT, DeviceGraph
from models.gpu_graphs.synthesis import HOPS, Synthesis
from models.gpu_graphs.weights import Array, Block, VocoderWeights


def state_shapes(weights: VocoderWeights) -> list[tuple[int, ...]]:
    """Of one slot, in the slab's order."""
    blocks = [(one.taps.shape[0], one.taps.shape[1] - 1) for one in (*weights.coarse, *weights.fine)]
    return [*blocks, (LOOK_BACK,), (HOPS - 1, HOPS * HOP)]


def vocoder(weights: VocoderWeights, dtype: str) -> onnx.ModelProto:
    graph = DeviceGraph(dtype)
    codes = graph.input("codes", TensorProto.INT64, ["R", "F"])
    voices = graph.input("voices", TensorProto.FLOAT, ["R", len(weights.voices)])
    slots = graph.input("slots", TensorProto.INT64, ["R"])
    states, phase = _gathered(graph, weights, slots)
    x = graph.node("Gather", [graph.constant("code_table", weights.codes), codes], "entered")
    if weights.seen is not None:
        seen = graph.input("seen", TensorProto.INT64, ["R", "F", weights.seen_columns])
        vectors = graph.node("Gather", [graph.constant("seen_table", weights.seen), seen], "seen_vectors")
        seen_axis = graph.constant("seen_axis", np.array([2]))
        x = graph.node(
            "Add", [x, graph.node("ReduceSum", [vectors, seen_axis], "seen_sum", keepdims=0)], "entered_seen"
        )
    voice = graph.node("MatMul", [voices, graph.constant("voice_table", weights.voices)], "voice")
    x = graph.node("Add", [x, graph.reshape(voice, [-1, 1, weights.voices.shape[1]], "voice_rows")], "voiced_codes")
    x = graph.to_own_type(x, "coarse_in")
    contexts = []
    for at, block in enumerate(weights.coarse):
        x, context = _block(graph, block, x, states[at], f"coarse.{at}")
        contexts.append(context)
    x = graph.node("MatMul", [x, graph.weight("up", weights.up)], "up_product")
    x = graph.node("Add", [x, graph.weight("up_bias", weights.up_bias)], "up_rows")
    x = graph.reshape(x, [0, -1, weights.fine[0].taps.shape[0]], "fine_in")
    for at, block in enumerate(weights.fine, len(weights.coarse)):
        x, context = _block(graph, block, x, states[at], f"fine.{at}")
        contexts.append(context)
    made = Synthesis(graph, weights).run(graph.to_float32(x, "fine_out"), phase, *states[-2:])
    _scattered(graph, weights, slots, [*contexts, made["tail"], made["before"]], made["phase"])
    graph.output("spectrum", TensorProto.FLOAT, ["R", "N", 2, BINS])
    graph.output("samples", TensorProto.FLOAT, ["R", "M", HOP])
    axis = graph.constant("sample_axes", np.array([1, 2]))
    graph.node("ReduceSum", ["samples", axis], graph.output("scores", TensorProto.FLOAT, ["R"]), keepdims=0)
    return graph.model(f"vocoder {dtype}")


def _gathered(graph: DeviceGraph, weights: VocoderWeights, slots: str) -> tuple[list[str], str]:
    """-> each state [R, ...], zero in rows that begin; the phase [R]"""
    begins = graph.input("begins", TensorProto.BOOL, ["R"])
    shapes = state_shapes(weights)
    sizes = [math.prod(shape) for shape in shapes]
    slab = graph.input("state", TensorProto.FLOAT, ["slots", sum(sizes)])
    phases = graph.input("phase", TensorProto.INT64, ["slots"])
    rows = graph.node("Gather", [slab, slots], "state_rows")
    zero = graph.constant("zero_float", np.zeros((), np.float32))
    rows = graph.node("Where", [graph.reshape(begins, [-1, 1], "begins_rows"), zero, rows], "state_begun")
    parts = [f"state.{at}" for at in range(len(sizes))]
    groups = _groups(weights)
    names = [*(f"states.{at}" for at in range(len(groups))), *parts[-2:]]
    grouped = [*(sum(sizes[at] for at in group) for group in groups), *sizes[-2:]]
    graph.node("Split", [rows, graph.constant("state_sizes", np.array(grouped))], names, axis=1)
    for name, group in zip(names, groups, strict=False):
        graph.node("Split", [name], [parts[at] for at in group], axis=1, num_outputs=len(group))
    states = [graph.reshape(part, [-1, *shape], f"{part}_shaped") for part, shape in zip(parts, shapes, strict=True)]
    for at in range(len(shapes) - 2):
        states[at] = graph.to_own_type(states[at], f"state.{at}_typed")
    phase = graph.node("Gather", [phases, slots], "phase_rows")
    whole = graph.constant("zero_int", np.zeros((), np.int64))
    return states, graph.node("Where", [begins, whole, phase], "phase_begun")


def _groups(weights: VocoderWeights) -> list[range]:
    """States of one size, split and joined together: the kernels for many parts of several sizes copy a table of them
    from the host, which a replay would read from where it no longer is."""
    coarse, fine = len(weights.coarse), len(weights.fine)
    return [range(coarse), range(coarse, coarse + fine)]


def _scattered(graph: DeviceGraph, weights: VocoderWeights, slots: str, states: list[str], phase: str) -> None:
    """Back to the slots, in place where the slabs are bound to input and output."""
    flat = []
    for at, state in enumerate(states):
        value = state if at >= len(states) - 2 else graph.to_float32(state, f"state.{at}_widened")
        flat.append(graph.reshape(value, [0, -1], f"state.{at}_flat"))
    joined = [
        graph.node("Concat", [flat[at] for at in group], f"states_new.{group.start}", axis=1)
        for group in _groups(weights)
    ]
    rows = graph.node("Concat", [*joined, *flat[-2:]], "state_new", axis=1)
    rows_at = graph.reshape(slots, [-1, 1], "slot_rows")
    graph.node("ScatterND", ["state", rows_at, rows], graph.output("state_out", TensorProto.FLOAT, ["slots", "state"]))
    graph.node("ScatterND", ["phase", rows_at, phase], graph.output("phase_out_slots", TensorProto.INT64, ["slots"]))


def _block(graph: DeviceGraph, block: Block, x: str, context: str, name: str) -> tuple[str, str]:
    """x [R, F, channels], context [R, channels, taps - 1] -> both"""

    def weight(part: str, value: Array) -> str:
        return graph.weight(f"{name}.{part}", value)

    across = graph.node("Transpose", [x], f"{name}.across", perm=[0, 2, 1])
    graph.node(
        "CausalConvWithState",
        [across, weight("taps", block.taps[:, None]), weight("taps_bias", block.taps_bias), context],
        [f"{name}.convolved", f"{name}.context"],
        domain=MICROSOFT,
    )
    h = graph.node("Transpose", [f"{name}.convolved"], f"{name}.along", perm=[0, 2, 1])
    norm = [weight("norm", block.norm), weight("norm_bias", block.norm_bias)]
    h = graph.node("LayerNormalization", [h, *norm], f"{name}.normed", axis=-1, epsilon=1e-5)
    h = graph.node("MatMul", [h, weight("expand", block.expand)], f"{name}.expanded")
    h = graph.node("BiasGelu", [h, weight("expand_bias", block.expand_bias)], f"{name}.gelu", domain=MICROSOFT)
    h = graph.node("MatMul", [h, weight("contract", block.contract)], f"{name}.contracted")
    h = graph.node("Add", [h, weight("contract_bias", block.contract_bias)], f"{name}.biased")
    return graph.node("Add", [x, h], f"{name}.out"), f"{name}.context"
