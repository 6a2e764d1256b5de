"""The forecast's nodes, which stand in the LM's graph and, once for each guess, in the drafter's."""

from __future__ import annotations

import numpy as np

from models.forecast import HALF, Forecast
from models.graph import MICROSOFT, Graph

FIRST_PRODUCT = "forecast.first"  # in the LM's graph


def declare_forecast(graph: Graph, forecast: Forecast, *, greedy: bool = False) -> dict[str, str]:
    """Its weights by their name in the network, but for the first product's, which each graph makes in its own way.

    They are called the same everywhere, so that files share them. `greedy` graphs use `likeliest_code`, the others
    `forecast_logits`.
    """
    later = {"second.weight": forecast.second.weight, "halves.weight": forecast.halves.weight}
    names = {name: graph.weight(f"forecast.{name}", value.T.detach().numpy()) for name, value in later.items()}
    if greedy:
        constants = {"halves_shape": [1, 2, HALF], "places": [[1, HALF]], "axis": [-1]}
    else:
        constants = {"column_shape": [-1, HALF, 1], "row_shape": [-1, 1, HALF], "codes_shape": [-1, HALF * HALF]}
    for name, value in constants.items():
        graph.exact(f"forecast.{name}", np.array(value))
    return names


def forecast_scores(graph: Graph, own: dict[str, str], first: str, at: str) -> str:
    """first [N, H], the product of the normed input and `first.weight` -> scores [N, 2 * HALF], the low half's first;
    `at` begins the names of the nodes' outputs"""
    x = graph.node("QuickGelu", [first], f"{at}first_silu", domain=MICROSOFT, alpha=1.0)
    product = graph.node("Gemm", [x, own["second.weight"]], f"{at}second")
    x = graph.node("QuickGelu", [product], f"{at}second_silu", domain=MICROSOFT, alpha=1.0)
    return graph.node("Gemm", [x, own["halves.weight"]], f"{at}scores")


def forecast_logits(graph: Graph, scores: str, at: str) -> str:
    """scores [N, 2 * HALF] -> logits [N, V]"""
    graph.node("Split", [scores], [f"{at}low", f"{at}high"], axis=-1, num_outputs=2)
    high = graph.node("Reshape", [f"{at}high", "forecast.column_shape"], f"{at}column")
    low = graph.node("Reshape", [f"{at}low", "forecast.row_shape"], f"{at}row")
    square = graph.node("Add", [high, low], f"{at}square")
    return graph.node("Reshape", [square, "forecast.codes_shape"], f"{at}logits")


def likeliest_code(graph: Graph, scores: str, at: str) -> str:
    """scores [1, 2 * HALF] -> code [1]; the sum of both halves is greatest where each is"""
    both = graph.node("Reshape", [scores, "forecast.halves_shape"], f"{at}halves")
    digits = graph.node("ArgMax", [both], f"{at}digits", axis=-1, keepdims=0)
    weighted = graph.node("Mul", [digits, "forecast.places"], f"{at}weighted")
    return graph.node("ReduceSum", [weighted, "forecast.axis"], f"{at}code", keepdims=0)
