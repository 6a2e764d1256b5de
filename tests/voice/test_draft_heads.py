"""Draft heads: how they are judged, and that their graph stays as cheap as it is meant to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from engines.bundle import load_bundle
from engines.text import NUM_PHONE_IDS
from engines.tolerance import stands
from models.draft_heads import DraftConfig, DraftHeads, DraftProposer
from models.export import round_to_half
from models.export_drafts import draft_calls, draft_graph
from models.lm_data import Example
from models.own_samples import OwnSample
from models.quantise import quantised, scales
from models.speech_lm import LmConfig, SpeechLm
from models.train_drafts import batch, evaluate, stood

WIDTH = 256


def network() -> SpeechLm:
    torch.manual_seed(1)
    return SpeechLm(LmConfig(voices=4, num_phone_ids=NUM_PHONE_IDS)).eval()


def sample(heads: DraftHeads, steps: int, seed: int) -> OwnSample:
    """Noise for states, and at every other step the code that heads which only norm the state will guess."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((steps, WIDTH)).astype(np.float16)
    codes = rng.integers(0, 4096, steps)
    with torch.no_grad():
        codes[1::2] = heads.guess(heads.norms[-1](torch.from_numpy(hidden).float())).numpy()[:-1][::2]
    ends = np.linspace(4, 4 * steps, 6).astype(int)
    one = Example(codes=codes, phones=np.arange(1, 7), pauses=np.zeros(6, int), ends=ends, speaker=0, stretch=1.0)
    return OwnSample(one, hidden)


def test_what_fills_up_a_short_sample_is_no_miss() -> None:
    lm, heads = network(), DraftHeads(DraftConfig(length=2, hidden=64), WIDTH).eval()
    torch.nn.init.zeros_(heads.carry.weight)
    short, long = sample(heads, 9, 1), sample(heads, 60, 2)
    for name in ("guess1", "near_guess1"):
        alone = [evaluate(lm, heads, [one])[name] for one in (short, long)]
        assert name != "guess1" or min(alone) > 0.4
        together = evaluate(lm, heads, [short, long])[name]
        assert np.isclose(together, (8 * alone[0] + 59 * alone[1]) / 67)


def test_graph_says_what_its_network_says() -> None:
    lm, heads = network(), DraftHeads(DraftConfig(length=3, hidden=64, layers=2), WIDTH).eval()
    for layer in (heads.halves, *heads.leave):
        torch.nn.init.normal_(layer.weight, 0, 0.3)
    torch.nn.init.normal_(heads.step.weight, 0, 0.3)
    round_to_half(lm)
    round_to_half(heads)
    proposer = DraftProposer(lm, heads).eval()
    session = ort.InferenceSession(draft_graph(lm, heads).SerializeToString())
    generator = torch.Generator().manual_seed(2)
    ranges = {"code": 4096, "features": len(proposer.table)}
    seen = set()
    for _ in range(20):
        inputs = proposer.example_inputs()
        for name, value in inputs.items():
            if name in ranges:
                inputs[name] = torch.randint(0, ranges[name], value.shape, generator=generator)
            elif name != "scale":
                inputs[name] = torch.randn(value.shape, generator=generator)
        with torch.no_grad():
            codes = proposer(**inputs)
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert np.array_equal(found[0], codes.numpy())
        seen |= set(codes.tolist())
    assert len(seen) > 20, "the inputs matter"


def test_a_step_nearer_is_a_guess_that_stands() -> None:
    """What training calls near is what the engine lets stand."""
    lm, heads = network(), DraftHeads(DraftConfig(length=1, hidden=64), WIDTH).eval()
    one = sample(heads, 40, 4)
    inputs, codes, hidden = given = batch([one])
    with torch.no_grad():
        guesses = heads.guess(heads(hidden[:, :-1], lm.embed(inputs)[:, 1:], 0))[0].tolist()
    for tolerance in (0, 1, 3):
        expected = [stands((8,) * 4, guess, pick, tolerance) for guess, pick in zip(guesses, codes[0, 1:].tolist())]
        begun, found = stood(lm, heads, given, tolerance)
        assert begun.all()
        assert found[0][0].tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_no_product_is_undone_to_float(tmp_path: Path) -> None:
    """ONNX Runtime merges some operators into a product before it can become int8: a drafter ten times as slow."""
    lm, length = network(), 2
    heads = DraftHeads(DraftConfig(length=length, hidden=256), WIDTH).eval()
    bundle = load_bundle()
    calls = list(draft_calls(bundle, heads, [sample(heads, 20, 3)]))[:4]
    model = draft_graph(lm, heads)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # a graph kept for another machine is not what is done here
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(quantised(model, scales(model, calls)).SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QGemm") == (2 * heads.config.layers + 1) * length
    assert "DequantizeLinear" not in kinds
    assert "Gemm" not in kinds
