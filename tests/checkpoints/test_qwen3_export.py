"""A checkpoint becomes a bundle whose graphs say what its networks say; an export that broke off goes on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.family import Qwen3TtsFamily
from engines.families.qwen3_tts.tokens import load_tokenizer
from engines.messages import Submit
from engines.runtime.onnx_cpu import OnnxCpu
from engines.runtime.ort import ort
from models.checkpoints.errors import CheckpointError
from models.checkpoints.files import name_of
from models.checkpoints.safetensors import Tensors, write
from models.exporting import parts
from models.exporting.__main__ import main
from models.exporting.blocks import SpeechGraph
from models.exporting.errors import ExportError
from models.exporting.parts import Parts
from models.exporting.qwen3_tts import export as exporting
from models.exporting.qwen3_tts.parity import MOST_NATS, greedy
from models.exporting.qwen3_tts.prompts import prompt
from models.exporting.sampling import declare_sampling, drawn
from models.exporting.weights import WeightFile


@pytest.fixture(scope="module")
def bundle(qwen3_custom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "custom"
    assert main([str(qwen3_custom), "--out", str(out), "--positions", "128"]) == 0
    return out


def test_a_bundle_says_how_near_it_is(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    figures = manifest["quality"]["parity"]
    assert set(figures) == {"talker_logits", "vocoder"}
    assert all(0 <= figure < 1e-5 for figure in figures.values())
    assert manifest["quality"]["peak_memory_bytes"] > 0
    assert manifest["family"] == "qwen3_tts"
    assert manifest["qwen3_tts"]["codec"]["dialects"] == {"dylan": "beijing_dialect"}
    assert set(manifest["files"]) == {path.name for path in bundle.iterdir()} - {"manifest.json"}
    assert not bundle.with_name("custom.partial").exists()


def test_an_export_that_broke_off_goes_on(
    qwen3_custom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    arguments = [str(qwen3_custom), "--out", str(tmp_path / "out"), "--positions", "128"]
    with monkeypatch.context() as patched:
        patched.setattr(exporting, "step_graph", full)
        assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "out.partial cannot be written (No space left on device): make room there, or name another" in printed.err
    assert not (tmp_path / "out").exists()
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "vocoder: done before" in printed.out
    assert main(arguments) == 1
    assert "exists already: name another folder (--out), or remove it" in capsys.readouterr().err


def runtime_cuts_products() -> bool:
    """Without VNNI it does, and cannot be told otherwise of weights that products share (docs/qwen3-tts.md)."""
    weights = numpy_helper.from_array(np.full((8, 8), 127, np.int8), "weights")
    product = helper.make_node("MatMulInteger", ["rows", "weights"], ["sums"])
    rows = helper.make_tensor_value_info("rows", TensorProto.UINT8, [1, 8])
    sums = helper.make_tensor_value_info("sums", TensorProto.INT32, [1, 8])
    graph = helper.make_graph([product], "product", [rows], [sums], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"rows": np.full((1, 8), 255, np.uint8)})[0]
    return bool((found != 8 * 255 * 127).any())


def test_int8_rows_are_independent_and_near_the_network(
    qwen3_custom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    done = main([str(qwen3_custom), "--out", str(out), "--positions", "128", "--dtype", "int8"])
    if done and runtime_cuts_products():
        assert "nats a code, at most" in capsys.readouterr().err
        pytest.skip("this processor has no VNNI, and the runtime's int8 is not near the network there")
    assert done == 0
    figures = json.loads((out / "manifest.json").read_text())["quality"]["parity"]
    assert 0 < figures["talker_logits_int8"] < 0.2
    assert 0 < figures["nats_int8"] < (MOST_NATS if runtime_cuts_products() else 0.02)
    assert figures["codes_that_differ_int8"] < (0.6 if runtime_cuts_products() else 0.3)
    assert f"int8: {figures['nats_int8']:.4f} nats a code beside float32" in capsys.readouterr().out
    assert not [path for path in out.iterdir() if path.stem in ("judged", "watched")]
    part = Bundle.load(out).qwen3_tts.talker
    session, rng = (
        ort.InferenceSession(str(out / part.step), providers=["CPUExecutionProvider"]),
        np.random.default_rng(0),
    )
    rows, shape = 5, (5, part.kv_heads, 136, part.head_dim)
    feeds = {name: np.repeat(value, rows, 0) for name, value in greedy(part).items()} | {
        f"past_{kind}{layer}": rng.standard_normal(shape).astype(np.float32)
        for layer in range(part.layers)
        for kind in "kv"
    }
    feeds |= {"text": rng.integers(0, 400, (rows, 1)), "codes": rng.integers(0, part.codes, (rows, 1, part.codebooks))}
    feeds |= {"seqlens_k": np.arange(9, 14, dtype=np.int32), "total_len": np.array([14], np.int32)}
    together = session.run(["logits", "frames"], feeds)
    for row in range(rows):
        alone = {name: value[row : row + 1] for name, value in feeds.items() if name != "total_len"}
        alone["total_len"] = alone["seqlens_k"] + 1
        for one, all_rows in zip(session.run(["logits", "frames"], alone), together, strict=True):
            assert np.array_equal(one[0], all_rows[row])


def test_int8_that_speaks_another_distribution_is_refused(
    qwen3_custom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two channels of each product a few hundred times as large as the rest, as trained weights have them: float32 says
    the same as before, and one step for all leaves nothing of the others."""
    folder = shutil.copytree(qwen3_custom, tmp_path / "outliers")
    tensors = Tensors.open(folder)
    values = {name: tensors.read(name, torch.float32) for name in tensors.names()}
    for name in values:
        if name.endswith("mlp.up_proj.weight"):
            values[name][:2] *= 512
            values[name.replace("up_proj", "down_proj")][:, :2] /= 512
    write(folder / "model.safetensors", {name: value.to(torch.bfloat16) for name, value in values.items()})
    arguments = [str(folder), "--out", str(tmp_path / "out"), "--positions", "128"]
    assert main([*arguments, "--dtype", "int8"]) == 1
    told = capsys.readouterr().err
    assert "nats a code, at most 0.1 is right" in told
    assert "export it with --dtype float32" in told
    assert main(arguments) == 0


def test_what_int8_is_watched_with_is_what_is_served(bundle: Path) -> None:
    """Not random ids: an opening, the marks, and a line's own text beside the frames."""
    family = Qwen3TtsFamily(Bundle.load(bundle), OnnxCpu(1))
    section, tokenizer = Bundle.load(bundle).qwen3_tts, load_tokenizer(bundle / "tokenizer.json")
    speaker = next(iter(section.codec.speakers))
    line = "hello world the quick brown fox"
    given = prompt(section, tokenizer, line, 24)
    script = family.open(Submit(request_id="one", voice=speaker, seed=1, sample_rate_hz=24_000))
    script.append(line)
    script.end()
    while script.readable:
        script.read(1000)
    assert script.prefix is not None
    served = np.concatenate([script.prefix.rows, [script.row()]])
    assert np.array_equal(given.codes[0], served[:, 1:])
    assert np.array_equal(given.text[0, : given.opening + 1], served[:, 0])
    spoken = tokenizer.encode(line).ids
    assert [*given.text[0, given.opening :]][: len(spoken) + 2] == [*spoken, section.text.end, section.text.pad]


def test_parts_of_another_source_are_not_taken(tmp_path: Path) -> None:
    printed: list[str] = []
    Parts(tmp_path / "out", "one", printed.append).do("part", lambda: 1)
    assert Parts(tmp_path / "out", "one", printed.append).do("part", lambda: 2) == 1
    assert Parts(tmp_path / "out", "two", printed.append).do("part", lambda: 3) == 3


def test_a_model_is_named_after_its_repository_or_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of("hf://Qwen/Qwen3-TTS-12Hz-0.6B-Base@refs/pr/3") == "Qwen3-TTS-12Hz-0.6B-Base"
    assert name_of("hf://Qwen/Qwen3-TTS-12Hz-0.6B-Base") == "Qwen3-TTS-12Hz-0.6B-Base"
    (tmp_path / "mine" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "mine")
    assert [name_of(one) for one in (".", "./", "inner/..", str(tmp_path / "mine") + "/")] == ["mine"] * 4
    assert name_of("..") == tmp_path.name
    with pytest.raises(CheckpointError, match=r"/ gives the model no name: give it one \(--name\)"):
        name_of("/")


def test_an_export_inside_its_checkpoint_goes_on_too(
    qwen3_custom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`parlando export .` makes it there. Its own notes counted as the checkpoint's, so it began anew each time."""
    folder = shutil.copytree(qwen3_custom, tmp_path / "mine")
    monkeypatch.chdir(folder)
    with monkeypatch.context() as patched:
        patched.setattr(exporting, "_vocoder_parity", _out_of_memory)
        assert main([".", "--positions", "128"]) == 1
    capsys.readouterr()
    assert main([".", "--positions", "128"]) == 0
    printed = capsys.readouterr().out
    assert "talker: done before" in printed
    assert "begun anew" not in printed
    assert Bundle.load(folder / "mine").name == "mine"


def test_an_export_that_ends_while_it_hashes_goes_on(
    qwen3_custom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(qwen3_custom), "--out", str(tmp_path / "out"), "--positions", "128"]

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    replace = os.replace

    def killed_at_the_last(source: Path, target: Path) -> None:
        return killed() if target.name == "out" else replace(source, target)

    for module, name, ends in ((parts, "_sha256", killed), (os, "replace", killed_at_the_last)):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, ends)
            with pytest.raises(KeyboardInterrupt):
                main(arguments)
    capsys.readouterr()
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("done before") == 4, "tokenizer, vocoder, talker and vocoder parity"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"manifest.json"}
    assert not [name for name in names if name.startswith("parts.json")]


def test_memory_that_ends_on_the_way_is_one_line(tmp_path: Path) -> None:
    """torch says so by a RuntimeError."""
    printed: list[str] = []
    parts_of_it = Parts(tmp_path / "out", "one", printed.append)
    with pytest.raises(ExportError, match=r"talker failed: .*allocate"):
        parts_of_it.do("talker", lambda: torch.empty(1 << 55))
    with pytest.raises(ExportError, match="talker failed: out of memory"):
        parts_of_it.do("talker", _out_of_memory)
    assert parts_of_it.do("talker", lambda: 1) == 1


def _out_of_memory(*_: Any) -> None:
    raise MemoryError


def _draw(logits: Any, numbers: Any, temperature: float, top_k: int, top_p: float, tmp_path: Path) -> list[int]:
    with WeightFile(tmp_path / "w") as weights:
        graph = SpeechGraph(weights)
    graph.input("logits", TensorProto.FLOAT, ["B", "V"])
    graph.input("number", TensorProto.FLOAT, ["B", 1])
    declare_sampling(graph, "")
    drawn(graph, "logits", "", 8, "number", "found")
    graph.output("found", TensorProto.INT64, ["B"])
    session = ort.InferenceSession(graph.model("draw").SerializeToString(), providers=["CPUExecutionProvider"])
    batch = len(logits)
    feeds = {
        "logits": logits,
        "number": numbers,
        "temperature": np.full((batch, 1), temperature, np.float32),
        "top_k": np.full((batch, 1), top_k),
        "top_p": np.full((batch, 1), top_p, np.float32),
    }
    return list(session.run(None, feeds)[0])


def test_draws_follow_the_distribution_that_is_left(tmp_path: Path) -> None:
    shares = np.array([0.05, 0.4, 0.3, 0.2, 0.05], np.float64)
    logits = np.tile(np.log(shares)[None].astype(np.float32), (2000, 1))
    logits = np.concatenate([logits, np.full((2000, 5), -np.inf, np.float32)], 1)
    numbers = ((np.arange(2000) + 0.5) / 2000).astype(np.float32)[:, None]
    whole = np.bincount(_draw(logits, numbers, 1.0, 8, 1.0, tmp_path), minlength=5) / 2000
    np.testing.assert_allclose(whole[:5], shares, atol=0.002)
    two = np.bincount(_draw(logits, numbers, 1.0, 2, 1.0, tmp_path), minlength=5) / 2000
    np.testing.assert_allclose(two[:5], [0, 4 / 7, 3 / 7, 0, 0], atol=0.002)
    # The least set whose mass reaches 0.6: 0.4 and 0.3.
    nucleus = np.bincount(_draw(logits, numbers, 1.0, 8, 0.6, tmp_path), minlength=5) / 2000
    np.testing.assert_allclose(nucleus[:5], [0, 4 / 7, 3 / 7, 0, 0], atol=0.002)
    assert set(_draw(logits, np.zeros_like(numbers), 1.0, 8, 1.0, tmp_path)) == {1}
    assert set(_draw(logits, np.full_like(numbers, 1 - 2**-24), 1.0, 8, 1.0, tmp_path)) <= {0, 4}
