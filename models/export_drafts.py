"""Adds drafts to a bundle that `models.finish` has just made of an LM with a forecast.

drafts.onnx is the forecast alone, going on from its own guesses, drafts-sampled.onnx the same with noise; verify.onnx
is the LM over as many steps as there are guesses and one more. Weights and int8 scales are those of the LM's own graph,
in one file. The graphs are written by hand: a lone stream waits for them at every step, so every kernel counts. What
depends on the text alone is embedded once for all guesses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from engines.families.phone_pointer.bundle import load_bundle
from models.codec import NUM_CODES
from models.export import lm_graph, save_sharing, update_manifest
from models.export_forecast import declare_forecast, forecast_logits, forecast_scores, likeliest_code
from models.fold_lm import folded
from models.graph import Graph
from models.quantise import quantised, scales_in
from models.speech_lm import FEATURES, WINDOW, SpeechLm, input_table

LENGTH = 4  # guesses
GREEDY, SAMPLED, VERIFY = "drafts.onnx", "drafts-sampled.onnx", "verify.onnx"


def draft_graph(lm: SpeechLm, length: int, *, greedy: bool) -> onnx.ModelProto:
    """code [1], the last one spoken; features [K, F - 1] of the next K steps, without the code -> codes [K]

    Not greedy, it takes the scale [1], 1 / temperature, and the noise [K, V] that the target will add there as well.
    """
    assert lm.forecast is not None, "only for an LM that has one"
    graph = Graph()
    own, weights = declare_forecast(graph, lm.forecast, greedy=greedy), lm.state_dict()
    count = len(FEATURES) - 2 + len(WINDOW)
    graph.input("code", TensorProto.INT64, [1])
    graph.input("features", TensorProto.INT64, [length, count])
    if not greedy:
        graph.input("scale", TensorProto.FLOAT, [1])
        graph.input("noise", TensorProto.FLOAT, [length, NUM_CODES])
    code_table = graph.weight("code_table", weights["code.weight"].numpy())
    others = graph.exact("other_tables", input_table(lm)[0][len(weights["code.weight"]) :].numpy())
    places = graph.rows_added_up([code_table, others], "features", count, "texts")
    norm = graph.weight("norm_in", weights["blocks.0.attention_norm.weight"].numpy())
    first = graph.weight("forecast.first.weight", weights["forecast.first.weight"].T.numpy())
    code, codes = "code", []
    for index in range(length):
        at, here = f"{index}.", graph.exact(f"{index}", np.array([index]))
        place = graph.node("Gather", [places, here], f"{at}place")
        x = graph.node("Add", [graph.node("Gather", [code_table, code], f"{at}spoken"), place], f"{at}x")
        normed = graph.norm(x, norm, f"{at}normed_in")
        scores = forecast_scores(graph, own, graph.node("Gemm", [normed, first], f"{at}first"), at)
        code = likeliest_code(graph, scores, at) if greedy else _sampled_code(graph, scores, here, at)
        codes.append(code)
    graph.node("Concat", codes, "codes", axis=0)
    graph.output("codes", TensorProto.INT64, [length])
    return graph.model("drafts")


def _sampled_code(graph: Graph, scores: str, here: str, at: str) -> str:
    logits = forecast_logits(graph, graph.node("Mul", [scores, "scale"], f"{at}scaled"), at)
    likes = graph.node("Add", [logits, graph.node("Gather", ["noise", here], f"{at}noise")], f"{at}likes")
    return graph.node("ArgMax", [likes], f"{at}code", axis=-1, keepdims=0)


def export_drafts(folder: Path, lm: SpeechLm, length: int = LENGTH) -> None:
    """`lm` must be the very network in the folder, its weights rounded: another would check by other samples.

    Where the LM's graph is int8, so are these.
    """
    bundle = load_bundle(folder)
    graphs = {
        bundle.lm.file: onnx.load(folder / bundle.lm.file),
        VERIFY: lm_graph(lm, length + 1),
        GREEDY: draft_graph(lm, length, greedy=True),
        SAMPLED: draft_graph(lm, length, greedy=False),
    }
    known = scales_in(graphs[bundle.lm.file])
    if known:
        own = {name.removeprefix("forecast."): value for name, value in known.items()}
        guesses = {f"{index}.{name}": value for index in range(length) for name, value in own.items()}
        graphs[VERIFY] = quantised(graphs[VERIFY], known)
        graphs |= {name: quantised(graphs[name], guesses) for name in (GREEDY, SAMPLED)}
    graphs = {name: folded(graph) for name, graph in graphs.items()}
    save_sharing({folder / name: graph for name, graph in graphs.items()}, folder / "lm.weights")
    update_manifest(folder, drafts={"greedy": GREEDY, "sampled": SAMPLED, "verify": VERIFY, "length": length})
