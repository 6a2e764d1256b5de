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
from models.draft_heads import DraftConfig, DraftHeads
from models.export import lm_graph, round_to_half, save_sharing, update_manifest
from models.finish import load_lm
from models.graph import MICROSOFT, Graph
from models.lm_data import collate
from models.own_samples import OwnSample
from models.quantise import Feeds, quantised, scales, scales_in
from models.speech_lm import FEATURES, WINDOW, SpeechLm, feature_rows, input_table

_CALIBRATION_CALLS = 400


def load_heads(path: Path) -> DraftHeads:
    weights = torch.load(path, weights_only=False)["network"]
    length, hidden = weights["step.weight"].shape
    config = DraftConfig(length=length, hidden=hidden, sequential="enter.1.weight" not in weights)
    heads = DraftHeads(config, weights["leave.0.weight"].shape[0])
    heads.load_state_dict(weights)
    return heads.eval()


def draft_graph(lm: SpeechLm, heads: DraftHeads) -> onnx.ModelProto:
    """`models.draft_heads.DraftProposer` as a graph."""
    config, graph, width = heads.config, Graph(), lm.config.width
    weights = {name: value.detach().numpy() for name, value in lm.state_dict().items()}
    own = {name: value.detach().numpy() for name, value in heads.state_dict().items()}
    graph.input("hidden", TensorProto.FLOAT, [1, width])
    graph.input("code", TensorProto.INT64, [1])
    count = len(FEATURES) - 2 + len(WINDOW)
    graph.input("features", TensorProto.INT64, [config.length, count])
    graph.input("scale", TensorProto.FLOAT, [1])
    graph.input("noise", TensorProto.FLOAT, [config.length, NUM_CODES])
    code_table = graph.weight("code_table", weights["code.weight"])
    others = graph.exact("other_tables", input_table(lm)[0][len(weights["code.weight"]) :].numpy())
    places = graph.rows_added_up([code_table, others], "features", count, "places")
    to_code, norm = graph.weight("to_code", weights["to_code.weight"].T), graph.weight("norm", own["norm.weight"])
    code, state, codes, x = "code", "hidden", [], ""
    for index in range(config.length):
        at = f"{index}."
        mlp = 0 if config.sequential else index
        if config.sequential or index == 0:
            place = graph.node("Gather", [places, graph.exact(f"{at}place", np.array([index]))], f"{at}place_vector")
            x = graph.node("Add", [graph.node("Gather", [code_table, code], f"{at}code_vector"), place], f"{at}x")
        joined = graph.node("Concat", [state if config.sequential else "hidden", x], f"{at}joined", axis=-1)
        enter = graph.weight(f"{mlp}.enter", own[f"enter.{mlp}.weight"].T) if mlp == index else f"{mlp}.enter"
        leave = graph.weight(f"{mlp}.leave", own[f"leave.{mlp}.weight"].T) if mlp == index else f"{mlp}.leave"
        inner = graph.node("Gemm", [joined, enter], f"{at}inner")
        shift = own[f"enter.{mlp}.bias"] + own["step.weight"][index]
        # Sub, since ONNX Runtime merges an Add or a Sum into the product before that can become int8.
        inner = graph.node("Sub", [inner, graph.weight(f"{at}shift", -shift)], f"{at}shifted")
        inner = graph.node("QuickGelu", [inner], f"{at}silu", domain=MICROSOFT, alpha=1.0)
        out = graph.node("Gemm", [inner, leave], f"{at}out")
        inputs = [out, state if config.sequential else "hidden", norm]
        inputs.append(graph.weight(f"{at}out_bias", own[f"leave.{mlp}.bias"]))
        graph.node("SkipSimplifiedLayerNormalization", inputs, [f"{at}state"], domain=MICROSOFT, epsilon=1e-5)
        state = f"{at}state"
        logits = graph.node("Mul", [graph.node("Gemm", [state, to_code], f"{at}logits"), "scale"], f"{at}scaled")
        row = graph.node("Gather", ["noise", graph.exact(f"{at}row", np.array([index]))], f"{at}noise")
        logits = graph.node("Add", [logits, row], f"{at}noisy")
        code = graph.node("ArgMax", [logits], f"{at}code", axis=-1, keepdims=0)
        codes.append(code)
    graph.node("Concat", codes, "codes", axis=0)
    graph.output("codes", TensorProto.INT64, [config.length])
    return graph.model("draft_heads")


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
