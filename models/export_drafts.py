"""Adds trained draft heads to a finished bundle, int8: python -m models.export_drafts --help

The graph is written by hand: a lone stream waits for it at every step, so every kernel counts. What depends on the
text alone is embedded once for all places that the pointer can reach.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from engines.bundle import load_bundle
from models.codec import NUM_CODES
from models.draft_heads import DraftConfig, DraftHeads, offsets
from models.export import MICROSOFT, Graph, lm_graph, round_to_half, save_sharing, update_manifest
from models.finish import load_lm
from models.lm_data import elapsed
from models.own_samples import OwnSample
from models.quantise import Feeds, quantised, scales, scales_in
from models.speech_lm import MAX_ELAPSED, WINDOW, SpeechLm

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
    for name in ("code", "elapsed", "speaker"):
        graph.input(name, TensorProto.INT64, [1])
    graph.input("scale", TensorProto.FLOAT, [1])
    graph.input("noise", TensorProto.FLOAT, [config.length, NUM_CODES])
    places = _places(graph, weights, offsets(config))
    code_table = graph.weight("code_table", weights["code.weight"])
    elapsed_table = graph.weight("elapsed_table", weights["elapsed.weight"])
    to_code = graph.weight("to_code", weights["to_code.weight"].T)
    to_advance = graph.weight("to_advance", weights["to_advance.weight"].T)
    bias, norm = graph.weight("to_advance_bias", weights["to_advance.bias"]), graph.weight("norm", own["norm.weight"])
    one, most = graph.exact("one", np.array([1])), graph.exact("most_elapsed", np.array([MAX_ELAPSED]))
    code, since, offset, state = "code", "elapsed", graph.exact("here", np.array([0])), "hidden"
    codes, advances, x = [], [], ""
    for index in range(config.length):
        at = f"{index}."
        mlp = 0 if config.sequential else index
        if config.sequential or index == 0:
            parts = [
                graph.node("Gather", [code_table, code], f"{at}code_vector"),
                graph.node("Gather", [elapsed_table, since], f"{at}elapsed_vector"),
                graph.node("Gather", [places, offset], f"{at}place_vector"),
            ]
            x = graph.node("Sum", parts, f"{at}x")
        joined = graph.node("Concat", [state if config.sequential else "hidden", x], f"{at}joined", axis=-1)
        enter = graph.weight(f"{mlp}.enter", own[f"enter.{mlp}.weight"].T) if mlp == index else f"{mlp}.enter"
        leave = graph.weight(f"{mlp}.leave", own[f"leave.{mlp}.weight"].T) if mlp == index else f"{mlp}.leave"
        inner = graph.node("MatMul", [joined, enter], f"{at}inner")
        shift = own[f"enter.{mlp}.bias"] + own["step.weight"][index]
        # Sum, since an Add would be merged into the product before that can become int8.
        inner = graph.node("Sum", [inner, graph.weight(f"{at}shift", shift)], f"{at}shifted")
        inner = graph.node("QuickGelu", [inner], f"{at}silu", domain=MICROSOFT, alpha=1.0)
        out = graph.node("MatMul", [inner, leave], f"{at}out")
        inputs = [out, state if config.sequential else "hidden", norm]
        inputs.append(graph.weight(f"{at}out_bias", own[f"leave.{mlp}.bias"]))
        graph.node("SkipSimplifiedLayerNormalization", inputs, [f"{at}state"], domain=MICROSOFT, epsilon=1e-5)
        state = f"{at}state"
        logits = graph.node("Mul", [graph.node("MatMul", [state, to_code], f"{at}logits"), "scale"], f"{at}scaled")
        row = graph.node("Gather", ["noise", graph.exact(f"{at}row", np.array([index]))], f"{at}noise")
        logits = graph.node("Add", [logits, row], f"{at}noisy")
        code = graph.node("ArgMax", [logits], f"{at}code", axis=-1, keepdims=0)
        moves = graph.node("Add", [graph.node("MatMul", [state, to_advance], f"{at}moves"), bias], f"{at}biased")
        advance = graph.node("ArgMax", [moves], f"{at}advance", axis=-1, keepdims=0)
        codes.append(code)
        advances.append(advance)
        if config.sequential and index + 1 < config.length:
            offset = graph.node("Add", [offset, advance], f"{at}offset")
            stays = graph.node("Equal", [advance, graph.exact(f"{at}none", np.array([0]))], f"{at}stays")
            longer = graph.node("Min", [graph.node("Add", [since, one], f"{at}longer"), most], f"{at}cut")
            since = graph.node("Where", [stays, longer, graph.exact(f"{at}new", np.array([0]))], f"{at}since")
    graph.node("Concat", codes, "codes", axis=0)
    graph.node("Concat", advances, "advances", axis=0)
    for name in ("codes", "advances"):
        graph.output(name, TensorProto.INT64, [config.length])
    body = helper.make_graph(graph.nodes, "draft_heads", graph.inputs, graph.outputs, initializer=graph.constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10)


def _places(graph: Graph, weights: dict[str, np.ndarray], count: int) -> str:
    """[O, D]: all of the LM's input that the pointer's place and the request decide."""
    graph.input("phones", TensorProto.INT64, [count, len(WINDOW)])
    for name in ("to_pause", "pause_type"):
        graph.input(name, TensorProto.INT64, [count])
    graph.input("speed", TensorProto.FLOAT, [1])
    phones = graph.node("Gather", [graph.weight("phone_table", weights["phone.weight"]), "phones"], "phone_vectors")
    phones = graph.node("Reshape", [phones, graph.exact("flat", np.array([0, -1]))], "phone_window")
    parts = [graph.node("MatMul", [phones, graph.weight("phones_weight", weights["phones.weight"].T)], "phones_mixed")]
    parts.append(graph.weight("phones_bias", weights["phones.bias"]))
    for name in ("to_pause", "pause_type", "speaker"):
        table = graph.weight(f"{name}_table", weights[f"{name}.weight"])
        parts.append(graph.node("Gather", [table, name], f"{name}_vector"))
    parts.append(graph.node("Mul", ["speed", graph.weight("speed_weight", weights["speed.weight"][:, 0])], "fast"))
    return graph.node("Sum", parts, "places")


def export_drafts(folder: Path, lm: SpeechLm, heads: DraftHeads, samples: list[OwnSample]) -> None:
    """Adds drafts.onnx, and verify.onnx: the LM over as many steps as there are guesses and one more."""
    round_to_half(heads)
    round_to_half(lm)
    bundle, length = load_bundle(folder), heads.config.length
    drafts = draft_graph(lm, heads)
    found = scales(drafts, draft_calls(bundle.adapter.window, heads, samples))
    onnx.save(quantised(drafts, found), folder / "drafts.onnx")
    one_step = onnx.load(folder / bundle.lm.file)
    verify = lm_graph(lm, steps=length + 1)
    if scales_in(one_step):
        verify = quantised(verify, scales_in(one_step))
    save_sharing({folder / bundle.lm.file: one_step, folder / "verify.onnx": verify}, folder / "lm.weights")
    places = {"length": length, "offsets": offsets(heads.config)}
    update_manifest(folder, drafts={"file": "drafts.onnx", "verify": "verify.onnx", **places})


def draft_calls(window: tuple[int, ...], heads: DraftHeads, samples: list[OwnSample]) -> Iterator[Feeds]:
    """One place of a sample each, greedy."""
    rng, count = np.random.default_rng(3), offsets(heads.config)
    for _ in range(_CALIBRATION_CALLS):
        sample = samples[rng.integers(len(samples))]
        one = sample.example
        step = int(rng.integers(len(one.codes) - 1))
        here = np.minimum(one.pointer[step + 1] + np.arange(count), len(one.phones) - 1)
        padded = np.pad(one.phones, (-window[0], window[-1]))
        yield {
            "hidden": sample.hidden[step : step + 1].astype(np.float32),
            "code": one.codes[step : step + 1].astype(np.int64),
            "elapsed": elapsed(one.pointer)[step + 1 : step + 2].astype(np.int64),
            "phones": padded[here[:, None] - window[0] + np.array(window)].astype(np.int64),
            "to_pause": one.to_pause[here].astype(np.int64),
            "pause_type": one.pause_type[here].astype(np.int64),
            "speaker": np.array([one.speaker]),
            "speed": np.array([one.speed], np.float32),
            "scale": np.ones(1, np.float32),
            "noise": np.zeros((heads.config.length, NUM_CODES), np.float32),
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
