"""Adds trained draft heads to a finished bundle, int8: python -m models.export_drafts --help

The graph is written by hand: a lone stream waits for it at every step, so every kernel counts. What depends on the
text alone is embedded once for all steps.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto

from engines.bundle import Bundle, load_bundle
from models.codec import NUM_CODES
from models.draft_heads import HALF, DraftConfig, DraftHeads
from models.export import lm_graph, round_to_half, save_sharing, update_manifest
from models.finish import load_lm
from models.graph import MICROSOFT, Graph
from models.lm_data import collate
from models.own_samples import OwnSample
from models.quantise import Feeds, quantised, scales, scales_in
from models.speech_lm import FEATURES, WINDOW, SpeechLm, feature_rows, input_table

_CALIBRATION_CALLS = 400
_SHAPES = {"squares": [-1, HALF, HALF], "column": [HALF, 1], "row": [1, NUM_CODES]}


def load_heads(path: Path) -> DraftHeads:
    weights = torch.load(path, weights_only=False)["network"]
    (length, width), hidden = weights["step.weight"].shape, weights["enter.0.weight"].shape[0]
    layers = sum(name.startswith("enter.") and name.endswith(".weight") for name in weights)
    heads = DraftHeads(DraftConfig(length=length, hidden=hidden, layers=layers), width)
    heads.load_state_dict(weights)
    return heads.eval()


def draft_graph(lm: SpeechLm, heads: DraftHeads) -> onnx.ModelProto:
    """`models.draft_heads.DraftProposer` as a graph."""
    config, graph, width = heads.config, Graph(), lm.config.width
    code_weight, own = lm.code.weight.detach().numpy(), _weights(graph, heads)
    count = len(FEATURES) - 2 + len(WINDOW)
    graph.input("hidden", TensorProto.FLOAT, [1, width])
    graph.input("code", TensorProto.INT64, [1])
    graph.input("features", TensorProto.INT64, [config.length, count])
    graph.input("scale", TensorProto.FLOAT, [1])
    graph.input("noise", TensorProto.FLOAT, [config.length, NUM_CODES])
    code_table = graph.weight("code_table", code_weight)
    others = graph.exact("other_tables", input_table(lm)[0][len(code_weight) :].numpy())
    places = graph.rows_added_up([code_table, others], "features", count, "texts")
    places = graph.node("Add", [places, own["step.weight"]], "places")
    for name, shape in _SHAPES.items():
        graph.exact(name, np.array(shape))
    graph.exact("parts", np.array([width, config.hidden]))
    graph.node("Reshape", ["noise", "squares"], "noise_squares")
    code, state, codes = "code", "hidden", []
    for index in range(config.length):
        graph.exact(f"{index}", np.array([index]))
        place = graph.node("Gather", [places, f"{index}"], f"{index}.place")
        x = graph.node("Add", [graph.node("Gather", [code_table, code], f"{index}.said"), place], f"{index}.x")
        state = _next_state(graph, heads, own, state, x, f"{index}.")
        code = _guess(graph, own, state, index)
        codes.append(code)
    graph.node("Concat", codes, "codes", axis=0)
    graph.output("codes", TensorProto.INT64, [config.length])
    return graph.model("draft_heads")


def _weights(graph: Graph, heads: DraftHeads) -> dict[str, str]:
    """Constants of the graph by the network's names; matrices lie turned."""
    found = {}
    for name, value in heads.state_dict().items():
        array = value.detach().numpy()
        turned = array.T if array.ndim == 2 and name != "step.weight" else array
        if name not in ("carry.weight", "enter.0.weight"):
            found[name] = graph.weight(f"own.{name}", turned)
    both = [heads.carry.weight, heads.enter[0].weight]  # they see the same
    found["carry_enter"] = graph.weight("own.carry_enter", torch.cat(both).detach().numpy().T)
    return found


def _next_state(graph: Graph, heads: DraftHeads, own: dict[str, str], state: str, x: str, at: str) -> str:
    """`DraftHeads.forward`"""
    joined = graph.node("Concat", [state, x], f"{at}joined", axis=-1)
    inputs = [joined, own["enter_norm.weight"]]
    y = graph.node("SimplifiedLayerNormalization", inputs, f"{at}y", axis=-1, epsilon=1e-5, stash_type=1)
    both = graph.node("Gemm", [y, own["carry_enter"]], f"{at}both")
    graph.node("Split", [both, "parts"], [f"{at}carried", f"{at}0.product"], axis=-1)
    kept = graph.node("Add", [state, f"{at}carried"], f"{at}kept")
    for layer in range(heads.config.layers):
        here = f"{at}{layer}."
        if layer:
            graph.node("Gemm", [y, own[f"enter.{layer}.weight"]], f"{here}product")
        inner = graph.node("QuickGelu", [f"{here}product"], f"{here}silu", domain=MICROSOFT, alpha=1.0)
        left = graph.node("Gemm", [inner, own[f"leave.{layer}.weight"]], f"{here}left")
        inputs, y = [left, kept, own[f"norms.{layer}.weight"]], f"{here}y"
        kept = f"{here}kept"
        graph.node("SkipSimplifiedLayerNormalization", inputs, [y, "", "", kept], domain=MICROSOFT, epsilon=1e-5)
    return y


def _guess(graph: Graph, own: dict[str, str], state: str, index: int) -> str:
    """The likeliest code: its halves' scores, put together, with the target's noise added."""
    at = f"{index}."
    scores = graph.node("Gemm", [state, own["halves.weight"]], f"{at}scores")
    scores = graph.node("Mul", [scores, "scale"], f"{at}scaled")
    graph.node("Split", [scores], [f"{at}low", f"{at}up"], axis=-1, num_outputs=2)
    high = graph.node("Reshape", [f"{at}up", "column"], f"{at}high")
    noise = graph.node("Gather", ["noise_squares", f"{index}"], f"{at}noise")
    logits = graph.node("Add", [graph.node("Add", [high, f"{at}low"], f"{at}silent"), noise], f"{at}logits")
    flat = graph.node("Reshape", [logits, "row"], f"{at}row")
    return graph.node("ArgMax", [flat], f"{at}code", axis=-1, keepdims=0)


def export_drafts(folder: Path, lm: SpeechLm, heads: DraftHeads, samples: list[OwnSample]) -> None:
    """Adds drafts.onnx, and verify.onnx: the LM over as many steps as there are guesses and one more."""
    round_to_half(heads)
    round_to_half(lm)
    bundle, length = load_bundle(folder), heads.config.length
    drafts = draft_graph(lm, heads)
    found = scales(drafts, draft_calls(bundle, heads, samples))
    onnx.save(quantised(drafts, found), folder / "drafts.onnx")
    one_step = onnx.load(folder / bundle.lm.file)
    verify = lm_graph(lm, steps=length + 1)
    if scales_in(one_step):
        verify = quantised(verify, scales_in(one_step))
    save_sharing({folder / bundle.lm.file: one_step, folder / "verify.onnx": verify}, folder / "lm.weights")
    update_manifest(folder, drafts={"file": "drafts.onnx", "verify": "verify.onnx", "length": length})


def draft_calls(bundle: Bundle, heads: DraftHeads, samples: list[OwnSample]) -> Iterator[Feeds]:
    """One place of a sample each, greedy."""
    rng, length = np.random.default_rng(3), heads.config.length
    long_enough = [sample for sample in samples if len(sample.example.codes) > length]
    for _ in range(_CALIBRATION_CALLS):
        sample = long_enough[rng.integers(len(long_enough))]
        one = sample.example
        rows = feature_rows(collate([one])[0], bundle.adapter.offsets, bundle.adapter.num_phone_ids)[0].numpy()
        step = int(rng.integers(len(one.codes) - length))
        yield {
            "hidden": sample.hidden[step : step + 1].astype(np.float32),
            "code": one.codes[step : step + 1].astype(np.int64),
            "features": rows[step + 1 : step + 1 + length, 1:],
            "scale": np.ones(1, np.float32),
            "noise": np.zeros((length, NUM_CODES), np.float32),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--drafts", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="what models.own_samples wrote")
    arguments = parser.parse_args()
    samples = pickle.loads(arguments.samples.read_bytes())
    export_drafts(arguments.bundle, load_lm(arguments.lm)[0], load_heads(arguments.drafts), samples)


if __name__ == "__main__":
    main()
