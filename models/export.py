"""Writes the bundle: trained networks in, manifest and ONNX files out.

The LM graph is built node by node, because serving wants operators that a tracer does not make (grouped-query
attention with a shared cache). Weights are stored in half precision and cast once at load. Every export is run
against the torch network it came from and refused when they differ.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import set_external_data

from engines.families.bundle import FORMAT
from engines.families.phone_pointer.bundle import Bundle
from models.codec import FRAMES_PER_CODE, LEVELS, NUM_CODES, Decoder
from models.durations import CLOSING_HOPS, OPENING_HOPS, PAUSE_TYPES, DurationNet
from models.durations import WINDOW as DURATION_WINDOW
from models.durations import feature_offsets as duration_offsets
from models.export_durations import DURATION_ROWS, duration_graph
from models.export_forecast import FIRST_PRODUCT, declare_forecast, forecast_logits, forecast_scores
from models.export_vocoder import export_vocoder, sees_text, vocoder_states
from models.framing import HOP, SAMPLE_RATE_HZ
from models.framing import WINDOW as WINDOW_SAMPLES
from models.graph import MICROSOFT, Graph
from models.speech_lm import (
    BEGIN_CODE,
    FEATURES,
    FOLLOWING,
    LEFT,
    LOOK_AHEAD_PHONES,
    SINCE,
    WINDOW,
    LmConfig,
    SpeechLm,
    input_table,
    rotary_table,
)

MAX_STEPS = 750  # 30 s: the longest segment seen in training


def lm_graph(network: SpeechLm, steps: int | None = None) -> onnx.ModelProto:
    """One decode step over a shared cache; inputs and outputs as the bundle's `pointer` adapter names them.

    With `steps`, so many steps of one row at once, each with the bits that it has when made alone: products run over
    all of them, which changes no row's sum, attention step by step, each seeing what the one before has written. The
    cache is then an output once for each step, all bound to the same memory.

    Between the embedding and the logits rows and steps lie in one axis, because the runtime's fast int8 product takes
    two axes only (decision 4).
    """
    config, graph = network.config, Graph()
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    residual = _embed(graph, network, weights)
    graph.exact("mixed_shape", np.array([-1, config.heads * config.head_dim]))
    graph.node("Shape", ["features"], "rows_and_steps", start=0, end=2)
    graph.input("seqlens_k", TensorProto.INT32, ["B"])
    graph.input("total_len", TensorProto.INT32, [1])
    for step in range(1, steps or 1):
        graph.exact(f"later{step}", np.array([step], np.int32))
        graph.node("Add", ["seqlens_k", f"later{step}"], f"seqlens_k_{step}")
        graph.node("Add", ["total_len", f"later{step}"], f"total_len_{step}")
    # Attention's scale lies in the tables that turn queries and keys alike: only a product that is not scaled gets
    # the runtime's quick kernel for one query (decision 11).
    for name, table in zip(("cosine", "sine"), rotary_table(MAX_STEPS + 16, config.head_dim), strict=True):
        graph.exact(name, table.numpy() * np.float32(config.head_dim**-0.25))
    normed = graph.norm(residual, graph.weight("norm_in", weights["blocks.0.attention_norm.weight"]), "normed_in")
    for layer in range(config.layers):
        following = "norm.weight" if layer == config.layers - 1 else f"blocks.{layer + 1}.attention_norm.weight"
        normed, residual = _block(graph, network, weights, layer, normed, residual, weights[following], steps)
    logits = graph.node("Gemm", [normed, graph.weight("to_code", weights["to_code.weight"].T)], "code_rows")
    if network.forecast is not None:
        own = declare_forecast(graph, network.forecast)
        foreseen = forecast_logits(graph, forecast_scores(graph, own, FIRST_PRODUCT, "forecast."), "forecast.")
        logits = graph.node("Add", [logits, foreseen], "code_rows_foreseen")
    _by_row_and_step(graph, logits, NUM_CODES, "code_logits")
    graph.output("code_logits", TensorProto.FLOAT, ["B", "S", NUM_CODES])
    return graph.model("speech_lm")


def _embed(graph: Graph, network: SpeechLm, weights: dict[str, NDArray[Any]]) -> str:
    table, _ = input_table(network)
    count = len(FEATURES) - 1 + len(WINDOW)
    graph.input("features", TensorProto.INT64, ["B", "S", count])
    code = weights["code.weight"]
    # What is multiplied out stays exact; rounded again it would differ from the network it came from.
    parts = [graph.weight("code_table", code), graph.exact("other_tables", table[len(code) :].numpy())]
    count = len(FEATURES) - 1 + len(WINDOW)
    rows = graph.node("Reshape", ["features", graph.exact("features_shape", np.array([-1, count]))], "features_rows")
    return graph.rows_added_up(parts, rows, count, "embedded_rows")


def _by_row_and_step(graph: Graph, x: str, width: int, output: str) -> str:
    """[B * S, width] -> [B, S, width]"""
    shape = f"steps_of_{width}"
    if all(node.output[0] != shape for node in graph.nodes):
        graph.node("Concat", ["rows_and_steps", graph.exact(f"{shape}.width", np.array([width]))], shape, axis=0)
    return graph.node("Reshape", [x, shape], output)


def _block(
    graph: Graph,
    network: SpeechLm,
    weights: dict[str, NDArray[Any]],
    layer: int,
    normed: str,
    residual: str,
    following_norm: NDArray[Any],
    steps: int | None,
) -> tuple[str, str]:
    config, at = network.config, f"blocks.{layer}."
    packed = _packed(graph, network, weights, layer, normed)
    mixed = _attention(graph, config, layer, packed, steps)
    joined = graph.node(
        "Gemm", [mixed, graph.weight(f"{at}out", weights[f"{at}attention.out.weight"].T)], f"{at}joined"
    )
    normed, residual = _add_and_norm(graph, f"{at}mlp_norm", joined, residual, weights[f"{at}mlp_norm.weight"])
    gate_up = graph.node("Gemm", [normed, graph.weight(f"{at}gate_up", weights[f"{at}gate_up.weight"].T)], f"{at}both")
    sizes = graph.exact(f"{at}sizes", np.array([config.hidden, config.hidden]))
    graph.node("Split", [gate_up, sizes], [f"{at}gate", f"{at}up"], axis=-1)
    gate = graph.node("QuickGelu", [f"{at}gate"], f"{at}silu", domain=MICROSOFT, alpha=1.0)
    product = graph.node("Mul", [gate, f"{at}up"], f"{at}product")
    down = graph.node("Gemm", [product, graph.weight(f"{at}down", weights[f"{at}down.weight"].T)], f"{at}lowered")
    return _add_and_norm(graph, f"{at}next_norm", down, residual, following_norm)


def _packed(graph: Graph, network: SpeechLm, weights: dict[str, NDArray[Any]], layer: int, normed: str) -> str:
    """Queries, keys and values. What the forecast makes of the same rows first is a part of the same product: of two
    products with one input the runtime would undo the int8 of one at every call."""
    at, forecast = f"blocks.{layer}.", network.forecast
    qkv = weights[f"{at}attention.qkv.weight"]
    if layer or forecast is None:
        return graph.node("Gemm", [normed, graph.weight(f"{at}qkv", qkv.T)], f"{at}packed")
    both = np.concatenate([qkv, weights["forecast.first.weight"]])
    graph.node("Gemm", [normed, graph.weight(f"{at}qkv_and_forecast", both.T)], f"{at}packed_and_forecast")
    sizes = graph.exact(f"{at}packed_sizes", np.array([len(qkv), forecast.config.first]))
    return graph.node("Split", [f"{at}packed_and_forecast", sizes], [f"{at}packed", FIRST_PRODUCT], axis=-1)


def _attention(graph: Graph, config: LmConfig, layer: int, packed: str, steps: int | None) -> str:
    cache: list[str | int] = ["B", config.kv_heads, "T", config.head_dim]
    past = {kind: graph.input(f"past_{kind}{layer}", TensorProto.FLOAT, cache) for kind in "kv"}
    count, at = steps or 1, f"blocks.{layer}."
    packed = _by_row_and_step(graph, packed, config.packed_width, f"{at}packed_steps")
    rows, mixed = [packed], []
    if steps:
        rows = [f"{at}packed_{step}" for step in range(count)]
        graph.node("Split", [packed, graph.exact(f"{at}each", np.ones(count, np.int64))], rows, axis=1)
    for step, row in enumerate(rows):
        suffix = f"_{step}" if steps else ""
        lengths = [f"{name}_{step}" if step else name for name in ("seqlens_k", "total_len")]
        present = {kind: f"present_{kind}{layer}{suffix}" for kind in "kv"}
        graph.node(
            "GroupQueryAttention",
            [row, "", "", past["k"], past["v"], *lengths, "cosine", "sine"],
            [f"{at}mixed{suffix}", present["k"], present["v"]],
            domain=MICROSOFT,
            num_heads=config.heads,
            kv_num_heads=config.kv_heads,
            do_rotary=1,
            scale=1.0,
        )
        for name in present.values():
            graph.output(name, TensorProto.FLOAT, cache)
        past = present
        mixed.append(f"{at}mixed{suffix}")
    joined = graph.node("Concat", mixed, f"{at}mixed", axis=1) if steps else mixed[0]
    return graph.node("Reshape", [joined, "mixed_shape"], f"{at}mixed_rows")


def _add_and_norm(graph: Graph, name: str, x: str, residual: str, scale: NDArray[Any]) -> tuple[str, str]:
    """Two nodes: the runtime has one for both, which takes twice their time from a few rows on."""
    summed = graph.node("Add", [x, residual], f"{name}_sum")
    return graph.norm(summed, graph.weight(name, scale), f"{name}_out"), summed


def save_sharing(models: dict[Path, onnx.ModelProto], weights: Path) -> None:
    """Graphs of one folder that keep their large constants in one file, those of equal name and bytes once."""
    places: dict[tuple[str, bytes], tuple[int, int]] = {}
    with weights.open("wb") as file:
        for path, model in models.items():
            kept = onnx.ModelProto()
            kept.CopyFrom(model)
            for tensor in kept.graph.initializer:
                content = numpy_helper.to_array(tensor).tobytes()
                if len(content) < 1024:
                    continue
                if (tensor.name, content) not in places:
                    file.write(b"\0" * (-file.tell() % 64))
                    places[tensor.name, content] = file.tell(), len(content)
                    file.write(content)
                offset, length = places[tensor.name, content]
                set_external_data(tensor, weights.name, offset, length)
                tensor.ClearField("raw_data")
            onnx.save(kept, path)


def round_to_half(network: torch.nn.Module) -> None:
    """What is stored is what is measured: gives the torch network the rounded weights too."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())


def write_bundle(
    folder: Path,
    decoder: Decoder,
    network: SpeechLm,
    durations: DurationNet,
    voices: list[dict[str, Any]],
    extra: dict[str, Any],
) -> None:
    """The three graphs and the manifest. `extra` brings name, version, defaults, licences, provenance and quality."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(lm_graph(network), folder / "lm.onnx")
    onnx.save(duration_graph(durations), folder / "durations.onnx")
    export_vocoder(decoder, folder / "vocoder.onnx")
    config = network.config
    manifest = {
        "format": FORMAT,
        "family": Bundle.FAMILY,
        "name": extra["name"],
        "version": extra["version"],
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "hop_length": HOP,
        "frames_per_code": FRAMES_PER_CODE,
        "window_samples": WINDOW_SAMPLES,
        "codes": {"pattern": "flat", "levels": list(LEVELS), "count": NUM_CODES, "begin": BEGIN_CODE},
        "adapter": {
            "kind": "pointer",
            "window": list(WINDOW),
            "look_ahead_phones": LOOK_AHEAD_PHONES,
            "since": list(SINCE),
            "left": list(LEFT),
            "following": list(FOLLOWING),
            "num_phone_ids": config.num_phone_ids,
            "max_steps": MAX_STEPS,
            "offsets": input_table(network)[1],
        },
        "durations": {
            "file": "durations.onnx",
            "window": list(DURATION_WINDOW),
            "rows": DURATION_ROWS,
            "opening_hops": OPENING_HOPS,
            "closing_hops": CLOSING_HOPS,
            "num_phone_ids": durations.config.num_phone_ids,
            "num_pause_types": PAUSE_TYPES,
            **duration_offsets(durations.config),
        },
        "lm": {
            "file": "lm.onnx",
            "layers": config.layers,
            "kv_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "width": config.width,
        },
        "vocoder": {"file": "vocoder.onnx", "states": vocoder_states(decoder), **sees_text(decoder)},
        "voices": voices,
        "defaults": extra["defaults"],
        "files": {name: _sha256(folder / name) for name in ("durations.onnx", "lm.onnx", "vocoder.onnx")},
        "licences": extra["licences"],
        "provenance": extra["provenance"],
        "quality": extra["quality"],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def update_manifest(folder: Path, provenance: dict[str, Any] | None = None, **fields: Any) -> None:
    """Takes in new fields and hashes of all graphs in the folder, after one of them has changed."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | fields
    manifest["provenance"] |= provenance or {}
    graphs = sorted(path for path in folder.iterdir() if path.suffix in (".onnx", ".weights"))
    manifest["files"] = {graph.name: _sha256(graph) for graph in graphs}
    path.write_text(json.dumps(manifest, indent=1) + "\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
