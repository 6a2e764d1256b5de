"""The graph of `models.durations.DurationNet`, by hand: text waits for it, and its rows must not see one another."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from models.durations import WINDOW as DURATION_WINDOW
from models.durations import DurationNet
from models.durations import input_table as duration_table
from models.graph import Graph

DURATION_ROWS = 8  # phones planned by one call


def duration_graph(network: DurationNet) -> onnx.ModelProto:
    """`models.durations.DurationNet` over rows that do not see one another, rounded to whole hops."""
    graph, table = Graph(), duration_table(network)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    count = 2 * len(DURATION_WINDOW) + 1
    graph.input("features", TensorProto.INT64, [DURATION_ROWS, count])
    graph.input("stretch", TensorProto.FLOAT, [DURATION_ROWS])
    x = graph.rows_added_up([graph.weight("table", table.numpy())], "features", count, "seen")
    stretch = graph.node("Unsqueeze", ["stretch", graph.exact("last", np.array([-1]))], "stretch_column")
    slow = graph.node("Mul", [stretch, graph.weight("stretch_weight", weights["stretch.weight"][:, 0])], "slow")
    x = graph.node("Relu", [graph.node("Add", [x, slow], "entered")], "x")
    for layer in range(len(network.inner)):
        y = graph.node("MatMul", [x, graph.weight(f"inner{layer}", weights[f"inner.{layer}.weight"].T)], f"y{layer}")
        y = graph.node("Add", [y, graph.weight(f"shift{layer}", weights[f"inner.{layer}.bias"])], f"shifted{layer}")
        x = graph.node("Add", [x, graph.node("Relu", [y], f"bent{layer}")], f"x{layer}")
    y = graph.node("MatMul", [x, graph.weight("leave", weights["leave.weight"].T)], "left")
    y = graph.node("Add", [y, graph.weight("leave_shift", weights["leave.bias"])], "plain")
    y = graph.node("Exp", [graph.node("Add", [y, "stretch_column"], "log_hops")], "expected")
    y = graph.node("Squeeze", [graph.node("Round", [y], "rounded"), "last"], "flat")
    graph.node("Cast", [y], "hops", to=TensorProto.INT64)
    graph.output("hops", TensorProto.INT64, [DURATION_ROWS])
    return graph.model("durations")
