"""Graphs in standard operators: the arithmetic of those that they were made from, and no other operator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.errors import BundleError
from engines.families.phone_pointer.bundle import load_bundle
from engines.runtime.ort import ort
from models.gpu_graphs.lm import Attend, decode, verify
from models.gpu_graphs.mask_form import speech_lm
from models.gpu_graphs.standard import in_standard_operators
from models.gpu_graphs.synthesis import hop_at, window_at
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights
from tests.gpu_graphs.reference import float_session, session

Arrays = dict[str, np.ndarray[Any, Any]]
BUNDLE = load_bundle(Path("flite"))
LM, SOUND = LmWeights.of(BUNDLE), VocoderWeights.of(BUNDLE)
POSITIONS, ROWS = 24, 3
if tuple(map(int, ort.__version__.split(".")[:2])) < (1, 31):
    pytest.skip(f"the GPU form's operators are those of ONNX Runtime 1.31, this is {ort.__version__}", True)


def run(made: Any, feeds: Arrays) -> Arrays:
    names = [one.name for one in made.get_outputs()]
    return dict(zip(names, made.run(names, feeds), strict=True))


def feeds(steps: int) -> Arrays:
    """For rows of different lengths over caches that are not empty."""
    rng = np.random.default_rng(steps)
    slab = rng.standard_normal((ROWS, 1, POSITIONS, LM.head_dim)).astype(np.float32)
    caches = {f"past_{kind}{layer}": slab for layer in range(len(LM.layers)) for kind in "kv"}
    return caches | {
        "context": rng.integers(BUNDLE.codes.count + 1, len(LM.table), (ROWS, steps, LM.features - 1)),
        "before": rng.integers(0, BUNDLE.codes.count, (ROWS, steps)),
        "is_active": np.array([True, False, True]),
        "lengths": np.array([0, 7, 15], np.int32),
        "steps": np.arange(steps),
        "temperature": np.array([1.0, 0.7, 1.3], np.float32),
        "noise_at": rng.integers(0, 900, (ROWS, steps)),
        "noise_table": rng.gumbel(size=6000).astype(np.float32),
    }


def close(found: Arrays, wanted: Arrays, within: float = 2e-5) -> None:
    for name, value in wanted.items():
        if name.startswith("present") or name in ("samples", "state_out"):
            np.testing.assert_allclose(found[name], value, atol=within * float(np.abs(value).max()), err_msg=name)
        elif name == "frames":
            assert np.array_equal(found[name].reshape(value.shape), value)


def test_one_step_under_a_mask_is_a_decode_step() -> None:
    made, given = session(speech_lm(LM, "float32", POSITIONS)), feeds(1)
    found = run(made, given)
    plain = {name: value for name, value in given.items() if name not in ("before", "steps")}
    plain |= {"context": given["context"][:, 0], "last": given["before"][:, 0], "noise_at": given["noise_at"][:, 0]}
    wanted = run(session(decode(LM, "float32", POSITIONS, Attend.CAUSAL)), plain)
    close(found, wanted)
    assert np.array_equal(found["last_out"], wanted["last_out"])


def test_several_steps_under_a_mask_are_a_verification() -> None:
    made, given = session(speech_lm(LM, "float32", POSITIONS)), feeds(4)
    plain = {name: value for name, value in given.items() if name not in ("before", "steps", "is_active")}
    plain |= {"last": given["before"][:, 0], "drafted": given["before"][:, 1:]}
    close(run(made, given), run(session(verify(LM, "float32", POSITIONS, 4)), plain))


def test_the_vocoder_written_out_is_the_vocoder() -> None:
    whole = vocoder(SOUND, "float32")
    rng, frames = np.random.default_rng(2), 3 * BUNDLE.frames_per_code
    values = sum(int(np.prod(shape)) for shape in state_shapes(SOUND))
    given: Arrays = {
        "codes": rng.integers(0, BUNDLE.codes.count, (2, 3)),
        "voices": np.eye(2, len(SOUND.voices), dtype=np.float32),
        "pitch": np.ones(2, np.float32),
        "slots": np.array([2, 0]),
        "begins": np.array([False, True]),
        "noise_at": np.array([3, 90]),
        "noise_table": rng.standard_normal(9000).astype(np.float32),
        "window_at": window_at(frames),
        "hop_at": hop_at(frames),
        "state": rng.standard_normal((4, values)).astype(np.float32),
        "phase": np.array([5, 0, 9, 0]),
    }
    close(run(session(in_standard_operators(whole)), given), run(session(whole), given), within=2e-4)


def test_draft_heads_written_out_are_the_float_network() -> None:
    assert BUNDLE.drafts is not None
    stored = onnx.load(BUNDLE.folder / BUNDLE.drafts.sampled)
    rng, length = np.random.default_rng(3), BUNDLE.drafts.length
    given: Arrays = {
        "code": np.array([17]),
        "features": rng.integers(BUNDLE.codes.count + 1, len(LM.table), (length, LM.features - 1)),
        "scale": np.ones(1, np.float32),
        "noise": rng.gumbel(size=(length, BUNDLE.codes.count)).astype(np.float32),
    }
    found = run(session(in_standard_operators(stored)), given)
    assert np.array_equal(found["codes"], run(float_session(BUNDLE, BUNDLE.drafts.sampled), given)["codes"])


def test_only_standard_operators_are_left() -> None:
    stored = onnx.load(BUNDLE.folder / BUNDLE.drafts.sampled) if BUNDLE.drafts else None
    for model in (
        speech_lm(LM, "float16", POSITIONS),
        *map(in_standard_operators, (vocoder(SOUND, "float16"), stored)),
    ):
        onnx.checker.check_model(model)
        assert {node.domain for node in model.graph.node} == {""}
        assert not model.functions


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (lambda: verify(LM, "float16", POSITIONS, 2), "takes lengths, a past or a causal flag"),
        (lambda: decode(LM, "float16", POSITIONS), r"com\.microsoft\.GroupQueryAttention .* has no form"),
    ],
)
def test_what_tensorrt_would_take_otherwise_is_refused(model: Any, problem: str) -> None:
    with pytest.raises(BundleError, match=problem):
        in_standard_operators(model())
