"""From a checkpoint to a bundle by the command, and what the bundle says and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer, models

from engines.errors import BundleError, ConfigError, UnknownVoice
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.family import PocketFamily
from engines.runtime.onnx_cpu import OnnxCpu
from models.checkpoints.pocket import files
from models.exporting.__main__ import main
from models.exporting.pocket import calibration, int8
from models.exporting.pocket import export as exporting
from models.exporting.pocket.export import positions_of
from models.exporting.pocket.int8 import Forms
from models.exporting.pocket.speech_lm import initial_cache, prefill_graph, step_graph
from server.speech import model_options

NAME = "english_2m_2026-10"


def test_the_command(smallest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, asked = tmp_path / "out", [str(smallest), "--voice", "marius", "--model", NAME]
    assert main([*asked, "--out", str(out), "--name", "mine"]) == 0
    printed = capsys.readouterr().out
    assert f"weights {NAME} of Kyutai's pocket-tts: CC-BY-4.0\nvoice marius (voice donations): CC0-1.0\n" in printed
    assert "int8: lm, decoder" in printed
    bundle = Bundle.load(out)
    assert bundle.licences == printed.splitlines()[:2]
    assert bundle.provenance == {"source": str(smallest), "model": NAME}
    assert (bundle.name, bundle.frame_s, bundle.frame_width, bundle.temperature) == ("mine", 0.08, 32, 0.3)
    assert bundle.lm.positions % 16 == 0
    assert {"frame_error", "end_error", "decoder_db", "int8"} <= bundle.quality.keys()
    with pytest.raises(UnknownVoice, match="'alba' is not in this bundle; valid: marius"):
        bundle.voice("alba")
    assert main([*asked, "--out", str(out)]) == 1
    assert "exists already: name another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_command_says_what_is_wrong(smallest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(smallest)]) == 1
    assert "error: name at least one voice" in capsys.readouterr().err


def test_a_disk_that_is_full_is_one_line(
    smallest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    asked = [str(smallest), "--voice", "marius", "--model", NAME, "--out", str(out)]
    monkeypatch.setattr(int8, "chosen", lambda *_: Forms(*[onnx.ModelProto()] * 3, {}))
    monkeypatch.setattr(exporting, "save_sharing", full)
    assert main(asked) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: {out} cannot be written (No space left on device): make room there, or name another folder (--out)"
    )
    monkeypatch.setattr(files, "read_weights", full)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    assert main(asked) == 1
    assert "error: the bundle takes 0.0 GB, " in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([*asked[:-1], str(tmp_path / "file" / "out")]) == 1
    assert "out cannot be written (Not a directory)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parlando_export_hands_its_options_on(smallest: Path) -> None:
    asked = [str(smallest), "--voice", "alba", "--voice", "bob", "--model", NAME, "--out", "nowhere"]
    done = subprocess.run(
        [sys.executable, "-m", "server", "export", *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: the licence of voice 'bob' is not known here" in done.stderr


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: m.update(format=4), "format 4 is not supported, this version reads 5"),
        (lambda m: m.update(mood="good"), "unknown field `mood`"),
        (lambda m: m["lm"].update(positions=60), "a voice takes 60 positions of a slot's 60"),
        (lambda m: m["files"].pop("step.onnx"), "'step.onnx' is used but has no hash"),
        (lambda m: m["files"].update({"step.onnx": "0" * 64}), "step.onnx has sha256"),
        (lambda m: m["files"].update({"../other": "0" * 64}), "'../other' is not inside"),
        (lambda m: m.update(voices=[]), "voices is empty"),
        (lambda m: m["end"].pop("threshold"), "manifest.end: Object missing required field `threshold`"),
    ],
)
def test_a_bundle_that_was_edited(
    bundle: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], Any], words: str
) -> None:
    folder = shutil.copytree(bundle, tmp_path / "edited")
    content = json.loads((folder / "manifest.json").read_text())
    edit(content)
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=words.replace("(", r"\(")):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda folder: (folder / "alba.npy").write_bytes(b"no"), "alba.npy is no readable voice"),
        (
            lambda folder: np.save(folder / "alba.npy", np.zeros((2, 3))),
            r"alba.npy is float64 \[2, 3\], the manifest makes it float32 \[2, 8, 1, 60, 64\]",
        ),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json cannot be read"),
        (
            lambda folder: Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(folder / "tokenizer.json")),
            "tokenizer.json has 1 tokens, the manifest says 4000",
        ),
    ],
)
def test_files_that_do_not_fit_the_manifest(
    bundle: Path, tmp_path: Path, edit: Callable[[Path], Any], words: str
) -> None:
    folder = shutil.copytree(bundle, tmp_path / "edited")
    edit(folder)
    with pytest.raises(BundleError, match=words):
        PocketFamily(Bundle.load(folder, checks_files=False), OnnxCpu())


@pytest.mark.parametrize(
    ("model", "language", "code"),
    [
        ("english_2m_2026-10", "english", "en"),
        ("german_24l", "german", "de"),
        ("dutch_24l", "dutch", "nl"),
        ("mine", "english", "en"),
    ],
)
def test_the_language_begins_the_models_name(
    bundle: Path, tmp_path: Path, model: str, language: str, code: str
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["provenance"]["model"] = model
    (copy / "manifest.json").write_text(json.dumps(manifest))
    found = Bundle.load(copy)
    assert found.languages == (language,)
    assert model_options.languages(found) == {code: language}


def test_serving_without_its_library(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"needs tokenizers: in the checkout, pip install '\.\[pocket\]'"):
        PocketFamily(Bundle.load(bundle), OnnxCpu())


def test_calibration_keeps_one_cache_whose_calls_give_what_their_own_gave(smallest: Path) -> None:
    """Of 40 steps and two sets of lines, every step's cache was kept: over 8 GB at 100M."""
    read = files.read(str(smallest), ["alba", "marius"], NAME)
    positions = positions_of(read)
    graphs = prefill_graph(read.config, read.weights, positions), step_graph(read.config, read.weights, positions)
    speech = calibration.speak(read, *graphs, positions, seed=1)
    one = sum(value.nbytes for value in initial_cache(read.config, len(calibration.LINES), positions).values())
    assert sum(value.nbytes for value in speech.cache.values()) == one
    calls = [*speech.steps()]
    held = {id(value): value.nbytes for call in calls for name, value in call.items() if name.startswith("past_")}
    assert sum(held.values()) == one
    step, prefill = calibration.session(graphs[1]), calibration.session(graphs[0])
    for index, call in enumerate(calls):
        assert np.array_equal(step.run(["frames"], call)[0], speech.frames[:, index]), index
    for row, (call, end) in enumerate(zip(speech.prefills(), speech.held, strict=True)):
        (keys,) = prefill.run(["present_k0"], call)
        assert np.array_equal(keys[:, :, :end], speech.cache["past_k0"][row : row + 1, :, :end])
        assert not keys[:, :, end:].any(), "figures count what a prefill has written alone"


def test_weights_lie_in_the_bundle_once(bundle: Path) -> None:
    """The graphs of the speech model share theirs, in memory too, where the runtime maps the file."""
    parts = ("step", "prefill", "decoder")
    graphs = [onnx.load(bundle / f"{part}.onnx", load_external_data=False).graph for part in parts]
    step, prefill, decoder = (
        {tuple(pair.value for pair in one.external_data) for one in graph.initializer if one.external_data}
        for graph in graphs
    )
    assert len(step & prefill) >= 4 * 8, "four products in each of eight layers"
    kept = sum(int(length) for _, _, length in step | prefill | decoder)
    assert kept <= (bundle / "weights.bin").stat().st_size < 1.01 * kept
    assert "weights.bin" in json.loads((bundle / "manifest.json").read_text())["files"]


def test_prefill_computes_nothing_but_the_cache(bundle: Path) -> None:
    graph = onnx.load(bundle / "prefill.onnx", load_external_data=False).graph
    read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    unread = [node.op_type for node in graph.node if not read & {*node.output}]
    assert not unread
    assert not any(name.startswith("layer7.") and "down" in name for name in read), "of the last layer's tail"
