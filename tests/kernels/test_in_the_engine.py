"""What runs in the engine: our kernels where they can, the runtime's where they cannot, and nearly the same logits."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle
from engines.config import EngineConfig
from engines.loop import Engine
from engines.runtime.onnx import OURS, OnnxLm, kernel_library
from models.export import lm_graph
from models.speech_lm import LmConfig, SpeechLm
from tests.kernels.graphs import HALF, NODE, graph, session


def test_a_compiler_gave_us_the_kernel() -> None:
    """Optional at installation, so a build that breaks is silent there."""
    if shutil.which("cc") is None or platform.machine() != "x86_64":
        pytest.skip("it wants a C compiler and x86-64")
    library = kernel_library()
    assert library is not None
    beside = [
        source for source in Path(library).parent.glob("*.[ch]") if source.stat().st_mtime > os.stat(library).st_mtime
    ]
    assert not beside, "the library is older than its source: make clean, or install again"


def test_the_engine_says_which_kernel_runs(bundle: Bundle) -> None:
    session(graph(4, 1))
    for asked in (True, False):
        engine = Engine(bundle, EngineConfig(slots=1, own_kernels=asked))
        try:
            assert engine.stats().kernels.startswith(OURS) is asked
        finally:
            engine.close()


def test_the_shipped_voice_says_the_same_with_the_runtimes_kernel(bundle: Bundle) -> None:
    """Steps of growing context, fed the same codes: logits differ by what int8 makes of the last bits."""
    session(graph(4, 1))  # skips where there is no kernel
    ours, theirs = OnnxLm(bundle, 3), OnnxLm(bundle, 3, own_kernels=False)
    assert ours.kernels.startswith(OURS)
    assert theirs.kernels.startswith("the runtime's")
    rng, apart = np.random.default_rng(8), []
    for past in range(60):
        codes, logits = rng.integers(0, bundle.codes.count, 3), []
        for lm in (ours, theirs):
            lm.inputs.features[:, 0, 0], lm.inputs.past[:] = codes, past
            logits.append(lm.step(0, 3).copy())
        apart.append(np.abs(logits[0] - logits[1]).max() / logits[1].std())
    assert np.median(apart) < 0.02
    assert max(apart) < 1


def test_the_engine_keeps_a_cache_in_half_precision(bundle: Bundle, tmp_path: Path) -> None:
    session(graph(4, 1))
    lm = onnx.load(bundle.folder / bundle.lm.file)
    for end in [*lm.graph.input, *lm.graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = HALF
    onnx.save(lm, tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx")
    halves = dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None)
    runtimes = OnnxLm(halves, 2), OnnxLm(halves, 2, own_kernels=False), OnnxLm(bundle, 2)
    assert [lm_of_one.kernels.startswith(OURS) for lm_of_one in runtimes] == [True, False, True]
    for past in range(20):
        logits = []
        for lm_of_one in runtimes:
            lm_of_one.inputs.features[:, 0, 0], lm_of_one.inputs.past[:] = 7 * past, past
            logits.append(lm_of_one.step(0, 2).copy())
        assert np.abs(logits[0] - logits[1]).max() < logits[1].std()
        assert np.abs(logits[0] - logits[2]).max() < logits[2].std()


def test_a_cache_in_int8_keeps_the_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    lm = onnx.load(bundle.folder / bundle.lm.file)
    for end in [*lm.graph.input, *lm.graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = TensorProto.INT8
    lm.graph.initializer.append(numpy_helper.from_array(np.array([0.03], np.float32), "cache_scale"))
    for node in lm.graph.node:
        if node.op_type == NODE:
            node.input.extend(["", "", "", "cache_scale", "cache_scale"])
            kinds = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 8}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in kinds.items())
    onnx.save(lm, tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx")
    runtime = OnnxLm(dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2)
    assert "lm.onnx cannot be loaded" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()


def test_a_shape_that_is_not_for_the_kernel_keeps_the_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    """Heads of 272, which the kernel refuses at the first step."""
    torch.manual_seed(0)
    config = LmConfig(voices=4, num_phone_ids=bundle.adapter.num_phone_ids, width=544, layers=1, heads=2, kv_heads=1)
    onnx.save(lm_graph(SpeechLm(config).eval()), tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx", layers=1, kv_heads=1, head_dim=config.head_dim)
    runtime = OnnxLm(dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2)
    if kernel_library() is not None:
        assert "at most 256" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()
