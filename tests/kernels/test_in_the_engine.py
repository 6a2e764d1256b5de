"""What runs in the engine: our kernels where they can, the runtime's where they cannot, and nearly the same logits."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx.inliner
import pytest
import torch

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.errors import ConfigError
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime import kernels
from engines.runtime.kernels import CHOICES, choose
from models.cpu_networks import speech_model
from models.export import lm_graph
from models.fold_lm import folded
from models.speech_lm import LmConfig, SpeechLm
from tests.kernels.graphs import HALF


def test_a_compiler_gave_us_the_kernel() -> None:
    """Optional at installation, so a build that breaks is silent there."""
    if shutil.which("cc") is None or platform.machine() != "x86_64":
        pytest.skip("it wants a C compiler and x86-64")
    library = kernels.library_file()
    assert library is not None
    beside = [
        source
        for source in Path(library).parent.glob("cpu_kernels/*.[ch]")
        if source.stat().st_mtime > os.stat(library).st_mtime
    ]
    assert not beside, "the library is older than its source: make clean, or install again"


def test_the_engine_says_which_kernels_run(form: str, bundle: Bundle) -> None:
    for asked, reported in ((form, f"ours, {form}"), ("off", "the runtime's: own_kernels is off")):
        engine = load_engine(bundle, EngineConfig(slots=1, own_kernels=asked))
        try:
            assert engine.stats().kernels == reported
            assert engine.stats().arithmetic.startswith(f"{reported}; ")
        finally:
            engine.close()


def test_a_form_that_does_not_run_here_is_an_error_that_says_what_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="one of auto, off, avx512, avx2"):
        choose("sse9")
    monkeypatch.setattr(kernels, "runs", lambda form: form == "avx2")
    assert CHOICES == ("auto", "off", "avx512", "avx2")
    with pytest.raises(ConfigError, match="own_kernels is avx512, which does not run here"):
        choose("avx512")


def test_without_a_compiler_the_runtimes_serve_and_say_why(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setattr(kernels, "library_file", lambda: None)
    lm = speech_model(bundle, 1)
    assert lm.kernels.startswith("the runtime's: ours were not compiled")
    assert np.isfinite(lm.step(0, 1)).all()
    with pytest.raises(ConfigError, match="were not compiled"):
        choose("avx2")


def test_the_shipped_voice_says_the_same_with_the_runtimes_kernel(form: str, bundle: Bundle) -> None:
    """Steps of growing context, fed the same codes: logits differ by what int8 makes of the last bits."""
    ours, theirs = speech_model(bundle, 3, own_kernels=form), speech_model(bundle, 3, own_kernels="off")
    rng, apart = np.random.default_rng(8), []
    for past in range(60):
        codes, logits = rng.integers(0, bundle.codes.count, 3), []
        for lm in (ours, theirs):
            lm.features[:, 0], lm.past[:] = codes, past
            logits.append(lm.step(0, 3).copy())
        apart.append(np.abs(logits[0] - logits[1]).max() / logits[1].std())
    assert np.median(apart) < 0.02
    assert max(apart) < 1


def test_the_engine_keeps_a_cache_in_half_precision(form: str, bundle: Bundle, tmp_path: Path) -> None:
    lm = onnx.load(bundle.folder / bundle.lm.file)
    for end in [*lm.graph.input, *lm.graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = HALF
    onnx.save(lm, tmp_path / "lm.onnx")
    own = msgspec.structs.replace(bundle.lm, file="lm.onnx")
    halves = msgspec.structs.replace(bundle, folder=tmp_path, lm=own, drafts=None)
    runtimes = [speech_model(halves, 2, own_kernels=own_kernels) for own_kernels in (form, "off")]
    runtimes.append(speech_model(bundle, 2))
    assert [one.kernels.startswith("ours") for one in runtimes[:2]] == [True, False]
    for past in range(20):
        logits = []
        for lm_of_one in runtimes:
            lm_of_one.features[:, 0], lm_of_one.past[:] = 7 * past, past
            logits.append(lm_of_one.step(0, 2).copy())
        assert np.abs(logits[0] - logits[1]).max() < logits[1].std()
        assert np.abs(logits[0] - logits[2]).max() < logits[2].std()


def test_a_graph_without_nodes_for_ours_runs_on_the_runtimes(form: str, bundle: Bundle, tmp_path: Path) -> None:
    lm = onnx.load(bundle.folder / bundle.lm.file)
    del lm.metadata_props[:]
    onnx.save(onnx.inliner.inline_local_functions(lm), tmp_path / "lm.onnx")
    own = msgspec.structs.replace(bundle.lm, file="lm.onnx")
    runtime = speech_model(msgspec.structs.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2, own_kernels=form)
    assert "has no nodes for ours" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()


def test_a_shape_that_is_not_for_the_kernel_keeps_the_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    """Heads of 272, which the kernel refuses at the first step."""
    torch.manual_seed(0)
    config = LmConfig(voices=4, num_phone_ids=bundle.adapter.num_phone_ids, width=544, layers=1, heads=2, kv_heads=1)
    onnx.save(folded(lm_graph(SpeechLm(config).eval())), tmp_path / "lm.onnx")
    own = msgspec.structs.replace(bundle.lm, file="lm.onnx", layers=1, kv_heads=1, head_dim=config.head_dim)
    runtime = speech_model(msgspec.structs.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2)
    if kernels.library_file() is not None:
        assert "at most 256" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()
