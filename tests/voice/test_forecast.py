"""The forecast beside the LM: its graph as drafter, its part of the LM's graph, and that both stay cheap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from engines.runtime.ort import cpu_session, ort, session_options
from engines.text import NUM_PHONE_IDS
from models.export import lm_graph, round_to_half
from models.export_drafts import draft_graph
from models.forecast import HALF, Forecast, ForecastConfig, losses
from models.quantise import products, quantised, scales
from models.speech_lm import FEATURES, WINDOW, LmConfig, SpeechLm, input_table

LENGTH = 3
COUNT = len(FEATURES) - 2 + len(WINDOW)


@pytest.fixture
def lm() -> SpeechLm:
    torch.manual_seed(1)
    network = SpeechLm(LmConfig(voices=4, num_phone_ids=NUM_PHONE_IDS)).eval()
    network.forecast = Forecast(ForecastConfig(width=network.config.width, first=96, second=192)).eval()
    torch.nn.init.normal_(network.forecast.halves.weight, 0, 0.3)
    round_to_half(network)
    return network


def draws(lm: SpeechLm, count: int) -> list[dict[str, np.ndarray]]:
    rng, table = np.random.default_rng(2), len(input_table(lm)[0])
    return [
        {
            "code": rng.integers(0, HALF * HALF, 1),
            "features": rng.integers(0, table, (LENGTH, COUNT)),
            "scale": rng.choice([1.0, 2.5], 1).astype(np.float32),
            "noise": rng.gumbel(size=(LENGTH, HALF * HALF)).astype(np.float32),
        }
        for _ in range(count)
    ]


@torch.no_grad()
def expected_guesses(lm: SpeechLm, given: dict[str, np.ndarray], greedy: bool) -> list[int]:
    """Each from the text at its place and the guess before it."""
    assert lm.forecast is not None
    table, code, guesses = input_table(lm)[0], int(given["code"][0]), []
    for features, noise in zip(given["features"], given["noise"], strict=True):
        logits = lm.forecast.logits(lm.blocks[0].attention_norm(table[features].sum(0) + table[code]))
        code = int((logits if greedy else logits * float(given["scale"][0]) + torch.from_numpy(noise)).argmax())
        guesses.append(code)
    return guesses


@pytest.mark.parametrize("greedy", [True, False])
def test_drafter_goes_on_from_its_own_guesses(lm: SpeechLm, greedy: bool) -> None:
    session = ort.InferenceSession(draft_graph(lm, LENGTH, greedy=greedy).SerializeToString())
    names, given = [one.name for one in session.get_inputs()], draws(lm, 20)
    found = [session.run(None, {name: one[name] for name in names})[0].tolist() for one in given]
    assert found == [expected_guesses(lm, one, greedy) for one in given]
    assert len({code for codes in found for code in codes}) > 30, "the inputs matter"


def test_the_halves_of_a_code_are_scored_apart(lm: SpeechLm) -> None:
    assert lm.forecast is not None
    x, codes = torch.randn(50, lm.config.width), torch.randint(0, HALF * HALF, (50,))
    logits = lm.forecast.logits(x)
    loss, best = losses(lm.forecast, x, codes)
    assert torch.equal(best, logits.argmax(-1))
    assert torch.isclose(loss, torch.nn.functional.cross_entropy(logits, codes), rtol=1e-4)


def test_a_weight_makes_it_surer_of_the_same(lm: SpeechLm) -> None:
    assert lm.forecast is not None
    x = torch.randn(50, lm.config.width)
    assert torch.allclose(lm.forecast.weighted(2.0).logits(x), 2 * lm.forecast.logits(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("greedy", [True, False])
def test_no_product_is_undone_to_float(lm: SpeechLm, tmp_path: Path, greedy: bool) -> None:
    """ONNX Runtime merges some operators into a product before it can become int8: a drafter ten times as slow."""
    model = draft_graph(lm, LENGTH, greedy=greedy)
    options = session_options()
    options.log_severity_level = 3  # a graph kept for another machine is not what is done here
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    names = [one.name for one in model.graph.input]
    small = quantised(model, scales(model, [{name: one[name] for name in names} for one in draws(lm, 4)]))
    cpu_session(small.SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QGemm") == len(products(model)) == 3 * LENGTH
    assert "DequantizeLinear" not in kinds


def test_the_drafter_has_the_speech_models_own_scales_and_weights(lm: SpeechLm) -> None:
    """So that it prefers what its part of the LM's graph prefers, and costs no second copy."""
    whole, alone = lm_graph(lm), draft_graph(lm, LENGTH, greedy=False)
    theirs = {node.input[1]: node.input[0] for node in products(whole) if "forecast" in node.input[1]}
    assert theirs == {
        "blocks.0.qkv_and_forecast": "normed_in",
        "forecast.second.weight": "forecast.first_silu",
        "forecast.halves.weight": "forecast.second_silu",
    }
    ours = {node.input[0].removeprefix("0.") for node in products(alone) if node.input[0].startswith("0.")}
    assert ours == {name.removeprefix("forecast.") for name in theirs.values()}, "so that its scales are found"
    constants = [{one.name: one.raw_data for one in model.graph.initializer} for model in (whole, alone)]
    shared = [name for name in constants[0] if name.startswith("forecast.") and name in constants[1]]
    assert len(shared) == 5, "two matrices, three shapes"
    assert all(constants[0][name] == constants[1][name] for name in shared)
