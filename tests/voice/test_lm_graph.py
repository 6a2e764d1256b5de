"""The LM graph as the runtime runs it: what torch says, which kernels it gets, and that bits depend on a row alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from engines.runtime.ort import ort, session_options
from models.export import lm_graph, round_to_half
from models.forecast import Forecast, ForecastConfig
from models.parity import TOLERANCE, lm_difference
from models.quantise import products, quantised
from models.speech_lm import FEATURES, WINDOW, LmConfig, SpeechLm, input_table

CONFIG = LmConfig(voices=2, num_phone_ids=40, width=128, layers=2, heads=4, kv_heads=2, hidden=192)
TABLE_ROWS = len(input_table(SpeechLm(CONFIG))[0])
CACHE = [f"{kind}{layer}" for layer in range(CONFIG.layers) for kind in "kv"]
POSITIONS, LONGEST = 24, 20
RESULTS = ("code_logits",)
Arrays = dict[str, NDArray[np.generic]]


def speech_lm() -> SpeechLm:
    """With a forecast beside it, whose products are large enough to become int8."""
    network = SpeechLm(CONFIG).eval()
    network.forecast = Forecast(ForecastConfig(width=CONFIG.width, first=192, second=128))
    return network


def int8_graph(steps: int | None = None) -> onnx.ModelProto:
    torch.manual_seed(1)
    model = lm_graph(speech_lm(), steps)
    return quantised(model, {node.input[0]: np.float32(0.03) for node in products(model)})


def session(model: onnx.ModelProto, written: Path | None = None) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if written:
        options.optimized_model_filepath = str(written)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inputs(rows: int, steps: int) -> Arrays:
    rng = np.random.default_rng(6)
    features = rng.integers(0, TABLE_ROWS, (rows, steps, len(FEATURES) - 1 + len(WINDOW)))
    return {"features": features}


def cache(rows: int) -> Arrays:
    rng = np.random.default_rng(7)
    shape = (rows, CONFIG.kv_heads, POSITIONS, CONFIG.head_dim)
    return {name: rng.standard_normal(shape).astype(np.float32) for name in CACHE}


def run(one: ort.InferenceSession, feeds: Arrays, kept: Arrays, past: NDArray[np.int32], suffix: str = "") -> Arrays:
    """Results by name; `kept`, the cache, becomes what the graph leaves."""
    lengths = {"seqlens_k": past, "total_len": past.max(keepdims=True) + 1}
    names = [*RESULTS, *[f"present_{name}{suffix}" for name in CACHE]]
    found = one.run(names, feeds | lengths | {f"past_{name}": array for name, array in kept.items()})
    kept.update(zip(CACHE, found[len(RESULTS) :], strict=True))
    return dict(zip(RESULTS, found, strict=False))


def test_products_run_on_the_quick_kernel(tmp_path: Path) -> None:
    """The slow one multiplies scales anew at each call."""
    session(int8_graph(), tmp_path / "optimised.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert kinds["QGemm"] == 4 * CONFIG.layers + 1 + 2, "the forecast's first is a part of the first layer's"
    assert kinds["MatMulIntegerToFloat"] == 0
    assert kinds["DequantizeLinear"] == 0
    assert kinds["SkipSimplifiedLayerNormalization"] == 0


def test_attention_is_not_scaled_in_the_node() -> None:
    """With any other factor each query packs the whole cache anew."""
    nodes = [node for node in lm_graph(speech_lm()).graph.node if node.op_type == "GroupQueryAttention"]
    factors = [attribute.f for node in nodes for attribute in node.attribute if attribute.name == "scale"]
    assert factors == [1.0] * CONFIG.layers


def test_it_says_what_torch_says(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = speech_lm()
    for name, weight in network.named_parameters():
        if "qkv" in name:
            weight.data *= 15  # attention that is far from even, so that its scale shows
    round_to_half(network)
    onnx.save(lm_graph(network), tmp_path / "lm.onnx")
    assert lm_difference(tmp_path, network) < TOLERANCE


@pytest.mark.parametrize("rows", [2, 5, 16])
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_row_does_not_depend_on_its_neighbours(rows: int, kind: str) -> None:
    torch.manual_seed(1)
    one = session(int8_graph() if kind == "int8" else lm_graph(speech_lm()))
    feeds, kept = inputs(rows, 1), cache(rows)
    past = np.random.default_rng(rows).integers(0, LONGEST, rows).astype(np.int32)
    past[0], past[1] = LONGEST - 1, 0
    together = run(one, feeds, dict(kept), past)
    for row in range(rows):
        at = slice(row, row + 1)
        alone = {name: array[at] for name, array in kept.items()}
        single = run(one, {name: array[at] for name, array in feeds.items()}, alone, past[at])
        for name in RESULTS:
            assert np.array_equal(single[name], together[name][at]), name


def test_several_steps_have_the_bits_of_single_ones() -> None:
    steps, past = 3, np.array([7], np.int32)
    feeds, kept = inputs(1, steps), cache(1)
    at_once = run(session(int8_graph(steps)), feeds, dict(kept), past, f"_{steps - 1}")
    one = session(int8_graph())
    for step in range(steps):
        now = {name: array[:, step : step + 1] for name, array in feeds.items()}
        single = run(one, now, kept, past + np.int32(step))
        for name in RESULTS:
            assert np.array_equal(single[name][:, 0], at_once[name][:, step]), name
