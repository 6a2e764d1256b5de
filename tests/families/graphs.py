"""Graphs of the toy families: small real ONNX, whose logits are an exact integer function of every cached position.

A position stores its input x in the keys and 2x + 1 in the values. With p counted from 1,

    h[s] = sum over positions p up to the step's own of p * key[p] + 3 * value[p]
    logits[v] = -((h + 7 v) mod V)

so a wrong slot, a lost prefill or a stale row is heard. All sums are integers below 2^24, exact in float32.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

POSITIONS = 160
BEGIN = 300  # what stands for the last frame before there is one
_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [name], **attributes))
        return name

    def constant(self, kind: int, dims: list[int], values: list[float] | list[int]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(helper.make_tensor(name, kind, dims, values))
        return name

    def save(self, path: Path, inputs: dict[str, tuple[int, list]], outputs: dict[str, tuple[int, list]]) -> None:
        def ends(named: dict[str, tuple[int, list]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in named.items()]

        graph = helper.make_graph(self.nodes, "toy", ends(inputs), ends(outputs), self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def save_lm(path: Path, vocabulary: int) -> None:
    """inputs [B, S] int64, lengths [B] and counts [B] int64, past_k0, past_v0 [B, 1, T, 1] -> logits [B, S, V],
    sums [B, S] (h), present_k0, present_v0. Steps beyond a row's count are not written."""
    graph = _Graph()
    zero, one = graph.constant(_INT, [1], [0]), graph.constant(_INT, [1], [1])
    first, last = graph.constant(_INT, [1], [1]), graph.constant(_INT, [1], [-1])
    places = graph.constant(_INT, [1, POSITIONS], [*range(POSITIONS)])
    starts = graph.node("Unsqueeze", "lengths", first)  # [B, 1]
    relative = graph.node("Sub", places, starts)  # [B, T]
    counts = graph.node("Unsqueeze", "counts", first)
    inside = graph.node("And", graph.node("GreaterOrEqual", relative, zero), graph.node("Less", relative, counts))
    clipped = graph.node("Max", zero, graph.node("Min", relative, graph.node("Sub", counts, one)))
    values = graph.node("Cast", graph.node("GatherElements", "inputs", clipped, axis=1), to=_FLOAT)  # [B, T]
    doubled = graph.node(
        "Add", graph.node("Mul", values, graph.constant(_FLOAT, [1], [2.0])), graph.constant(_FLOAT, [1], [1.0])
    )
    slab = graph.constant(_INT, [2], [1, 3])
    written = graph.node("Unsqueeze", inside, slab)  # [B, 1, T, 1]
    present = {}
    for name, new in (("k0", values), ("v0", doubled)):
        present[name] = graph.node(
            "Where", written, graph.node("Unsqueeze", new, slab), f"past_{name}", output=f"present_{name}"
        )
    weights = graph.constant(_FLOAT, [1, 1, POSITIONS, 1], [float(place + 1) for place in range(POSITIONS)])
    terms = graph.node(
        "Add",
        graph.node("Mul", present["k0"], weights),
        graph.node("Mul", present["v0"], graph.constant(_FLOAT, [1], [3.0])),
    )
    flat = graph.node("Squeeze", terms, slab)  # [B, T]
    steps = graph.node("Shape", "inputs")
    count = graph.node("Gather", steps, one, axis=0)
    own = graph.node(
        "Add",
        starts,
        graph.node("Unsqueeze", graph.node("Range", *_scalars(graph, count)), graph.constant(_INT, [1], [0])),
    )  # [B, S]
    seen = graph.node(
        "LessOrEqual",
        graph.node("Unsqueeze", places, graph.constant(_INT, [1], [1])),
        graph.node("Unsqueeze", own, graph.constant(_INT, [1], [2])),
    )  # [B, S, T]
    masked = graph.node(
        "Where", seen, graph.node("Unsqueeze", flat, graph.constant(_INT, [1], [1])), graph.constant(_FLOAT, [1], [0.0])
    )
    graph.node("ReduceSum", masked, last, output="sums", keepdims=0)
    shifts = graph.constant(_FLOAT, [1, 1, vocabulary], [7.0 * code for code in range(vocabulary)])
    h = graph.node("Add", graph.node("Unsqueeze", "sums", graph.constant(_INT, [1], [2])), shifts)
    graph.node("Neg", graph.node("Mod", h, graph.constant(_FLOAT, [1], [float(vocabulary)]), fmod=1), output="logits")
    cache = ["B", 1, POSITIONS, 1]
    graph.save(
        path,
        {
            "inputs": (_INT, ["B", "S"]),
            "lengths": (_INT, ["B"]),
            "counts": (_INT, ["B"]),
            "past_k0": (_FLOAT, cache),
            "past_v0": (_FLOAT, cache),
        },
        {
            "logits": (_FLOAT, ["B", "S", vocabulary]),
            "sums": (_FLOAT, ["B", "S"]),
            "present_k0": (_FLOAT, cache),
            "present_v0": (_FLOAT, cache),
        },
    )


def _scalars(graph: _Graph, count: str) -> tuple[str, str, str]:
    """0, count, 1 without axes, for Range."""
    zero, one = graph.constant(_INT, [], [0]), graph.constant(_INT, [], [1])
    return zero, graph.node("Squeeze", count, graph.constant(_INT, [1], [0])), one


def save_depth(path: Path, vocabulary: int, codebooks: int) -> None:
    """code [B] int64, sums [B] float -> frame [B, Q] int64: each code after the first follows from the one before it
    and from the sum, as in a depth transformer."""
    graph = _Graph()
    codes = [graph.node("Cast", "code", to=_FLOAT)]
    modulus = graph.constant(_FLOAT, [1], [float(vocabulary)])
    for place in range(1, codebooks):
        five, weight = graph.constant(_FLOAT, [1], [5.0]), graph.constant(_FLOAT, [1], [float(place + 2)])
        mixed = graph.node("Add", graph.node("Mul", codes[-1], five), graph.node("Mul", "sums", weight))
        codes.append(graph.node("Mod", mixed, modulus, fmod=1))
    axis = graph.constant(_INT, [1], [1])
    columns = [graph.node("Unsqueeze", one, axis) for one in codes]
    graph.node("Cast", graph.node("Concat", *columns, axis=1), output="frame", to=_INT)
    graph.save(
        path,
        {"code": (_INT, ["B"]), "sums": (_FLOAT, ["B"])},
        {"frame": (_INT, ["B", codebooks])},
    )
