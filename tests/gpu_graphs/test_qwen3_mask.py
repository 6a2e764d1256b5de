"""Qwen3-TTS as TensorRT takes it: the arithmetic of the device form under a mask, in standard operators alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from engines.runtime.ort import ort
from models.gpu_graphs.attention import Attend
from models.gpu_graphs.qwen3 import frame, prefill
from models.gpu_graphs.qwen3_form import vocoder
from models.gpu_graphs.qwen3_plans import plans
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from models.gpu_graphs.standard import in_standard_operators
from tests.gpu_graphs.reference import session

if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the GPU form's operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)

Arrays = dict[str, np.ndarray[Any, Any]]
POSITIONS, ROWS, BLOCK = 48, 3, 8


@pytest.fixture(scope="module")
def weights(qwen3_tts: Any) -> Qwen3Weights:
    return Qwen3Weights.of(qwen3_tts)


def run(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    made = session(model)
    names = [one.name for one in made.get_outputs()]
    wanted = {one.name: feeds[one.name] for one in made.get_inputs()}
    return dict(zip(names, made.run(names, wanted), strict=True))


def same(found: Arrays, wanted: Arrays, within: float = 2e-6) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(found[name], values, atol=within * float(np.abs(values).max()), err_msg=name)
        else:
            assert np.array_equal(found[name], values), name


def caches(weights: Qwen3Weights, rows: int) -> Arrays:
    heads, rng = weights.talker.heads, np.random.default_rng(2)
    shape = (rows, heads.kv_heads, POSITIONS, heads.head_dim)
    names = [f"past_{kind}{layer}" for layer in range(len(weights.talker.layers)) for kind in "kv"]
    return {name: rng.standard_normal(shape).astype(np.float32) for name in names}


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_frame_under_a_mask_is_the_frame(weights: Qwen3Weights, temperature: float) -> None:
    """Rows of three lengths over caches that are full of other numbers behind them; one row is idle."""
    rng, count = np.random.default_rng(1), weights.codebooks
    feeds: Arrays = caches(weights, ROWS) | {
        "text": rng.integers(0, 400, ROWS),
        "codes": rng.integers(0, 64, (ROWS, count)) + weights.starts,
        "follows": np.array([True, False, True]),
        "last": rng.integers(0, 64, (ROWS, count)) + weights.starts,
        "is_active": np.array([True, True, False]),
        "lengths": np.array([0, 7, 40], np.int32),
        "noise_at": np.array([0, 50, 900]),
        "noise_table": rng.gumbel(size=4096).astype(np.float32),
        "temperature": np.full((ROWS, count), temperature, np.float32),
        "top_k": np.full((ROWS, count), 20),
        "generated": rng.random((ROWS, weights.vocabulary)) < 0.1,
        "damping": np.full((ROWS, 2), 1.05, np.float32),
        "may_end": np.array([0, 1, 1]),
        "top_p": np.array([0.8, 0.9, 1.0], np.float32),
        "sharpness": np.full(ROWS, 1 / (temperature or 1), np.float32),
    }
    feeds |= {f"inner_at{place}": np.full(ROWS, place, np.int32) for place in range(count)}
    heads, layers = weights.predictor.heads, len(weights.predictor.layers)
    feeds["inner_slabs"] = np.zeros((ROWS, 2 * layers * heads.kv_heads, count, heads.head_dim), np.float32)
    masked = in_standard_operators(frame(weights, "float32", POSITIONS, Attend.MASKED))
    assert "inner_slabs" not in {one.name for one in masked.graph.input}
    same(run(masked, feeds), run(frame(weights, "float32", POSITIONS, Attend.CAUSAL), feeds))


def test_a_prompt_under_a_mask_is_the_prompt(weights: Qwen3Weights) -> None:
    """Row by row: a plan takes several, a call has one."""
    rng, count, width = np.random.default_rng(3), weights.codebooks, weights.text_table.shape[1]
    feeds: Arrays = caches(weights, 2) | {
        "text": rng.integers(0, 400, (2, BLOCK)),
        "codes": rng.integers(0, 64, (2, BLOCK, count)) + weights.starts,
        "speaker": rng.standard_normal((2, BLOCK, width)).astype(np.float32),
        "lengths": np.array([0, 11], np.int32),
    }
    found = run(in_standard_operators(prefill(weights, "float32", POSITIONS, BLOCK, Attend.MASKED)), feeds)
    whole = prefill(weights, "float32", POSITIONS, BLOCK, Attend.CAUSAL)
    for row in range(2):
        one = {name: values[row : row + 1] for name, values in feeds.items()}
        wanted = run(whole, one)
        by_row = {name: values[row : row + 1] for name, values in found.items() if name != "checksum"}
        assert np.isfinite(found["checksum"][row])
        same(by_row, {name: values for name, values in wanted.items() if name != "checksum"})


def test_the_vocoder_in_standard_operators_streams_the_same_samples(qwen3_tts: Any) -> None:
    """Frame after frame, with its state by slot; another row begins in between."""
    rng, part, both = np.random.default_rng(4), qwen3_tts.qwen3_tts.vocoder, []
    frames = rng.integers(0, qwen3_tts.qwen3_tts.talker.codes, (5, 2, qwen3_tts.qwen3_tts.talker.codebooks))
    for model in (vocoder(qwen3_tts), in_standard_operators(vocoder(qwen3_tts))):
        made, samples = session(model), []
        states: Arrays = {one.name: np.zeros((4, *one.shape), np.float32) for one in part.states}
        names = [one.name for one in made.get_outputs()]
        for at, codes in enumerate(frames):
            given = {"codes": codes, "made": np.array([at, at]), "slots": np.array([2, 0])}
            found = dict(zip(names, made.run(names, given | states), strict=True))
            states = {name: found[f"{name}_out"] for name in states}
            samples.append(found["samples"])
        both.append(np.stack(samples))
    assert np.abs(both[0]).max() > 0.01
    same({"samples": both[1]}, {"samples": both[0]}, within=1e-5)


def test_only_standard_operators_are_left(qwen3_tts: Any) -> None:
    for name, make in plans(qwen3_tts, "float16").items():
        one = make()
        onnx.checker.check_model(one.model)
        assert {node.domain for node in one.model.graph.node} == {""}, name
        free = {axis for shape in one.input_shapes.values() for axis in shape if isinstance(axis, str)}
        assert all(free == ranges.keys() for ranges in one.profiles), name
