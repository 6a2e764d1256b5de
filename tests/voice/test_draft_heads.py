"""Draft heads: how they are judged, and that their graph stays as cheap as it is meant to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch

from engines.bundle import load_bundle
from engines.text import NUM_PHONE_IDS
from models.draft_heads import DraftConfig, DraftHeads
from models.export_drafts import draft_calls, draft_graph
from models.lm_data import Example
from models.own_samples import OwnSample
from models.quantise import quantised, scales
from models.speech_lm import LmConfig, SpeechLm
from models.train_drafts import evaluate


def network() -> SpeechLm:
    torch.manual_seed(1)
    return SpeechLm(LmConfig(voices=4, num_phone_ids=NUM_PHONE_IDS)).eval()


def sample(lm: SpeechLm, steps: int, seed: int) -> OwnSample:
    """Noise for states, and at every other step the code that a head which leaves the state alone will guess."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((steps, lm.config.width)).astype(np.float16)
    codes = rng.integers(0, 4096, steps)
    with torch.no_grad():
        likely = lm.to_code(torch.from_numpy(hidden).float()).argmax(-1).numpy()
    codes[1::2] = likely[:-1][::2]
    ends = np.linspace(4, 4 * steps, 6).astype(int)
    one = Example(codes=codes, phones=np.arange(1, 7), pauses=np.zeros(6, int), ends=ends, speaker=0, stretch=1.0)
    return OwnSample(one, hidden)


def test_what_fills_up_a_short_sample_is_no_miss() -> None:
    lm = network()
    heads = DraftHeads(DraftConfig(length=2, hidden=64), lm.config.width).eval()
    short, long = sample(lm, 9, 1), sample(lm, 60, 2)
    alone = [evaluate(lm, heads, [one])["guess1"] for one in (short, long)]
    assert min(alone) > 0.4
    together = evaluate(lm, heads, [short, long])["guess1"]
    assert np.isclose(together, (8 * alone[0] + 59 * alone[1]) / 67)


def test_no_product_is_undone_to_float(tmp_path: Path) -> None:
    """ONNX Runtime merges some operators into a product before it can become int8: a drafter ten times as slow."""
    lm, length = network(), 2
    heads = DraftHeads(DraftConfig(length=length, hidden=256), lm.config.width).eval()
    bundle = load_bundle()
    calls = list(draft_calls(bundle, heads, [sample(lm, 20, 3)]))[:4]
    model = draft_graph(lm, heads)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # a graph kept for another machine is not what is done here
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(quantised(model, scales(model, calls)).SerializeToString(), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QGemm") == 3 * length
    assert "DequantizeLinear" not in kinds
    assert "Gemm" not in kinds
