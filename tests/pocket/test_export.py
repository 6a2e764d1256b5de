"""From a checkpoint to a bundle by the command, and what the bundle says and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.errors import BundleError, UnknownVoice
from engines.families.pocket.manifest import load
from models.pocket_export.__main__ import main

NAME = "english_2m_2026-10"


def test_the_command(smallest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    main([str(smallest), "--voice", "marius", "--model", NAME, "--out", str(out)])
    said = capsys.readouterr().out
    assert f"weights {NAME} of Kyutai's pocket-tts: CC-BY-4.0\nvoice marius (voice donations): CC0-1.0\n" in said
    bundle = load(out)
    assert bundle.licences == said.splitlines()[:2]
    assert bundle.provenance == {"source": str(smallest), "model": NAME}
    assert (bundle.frame_s, bundle.frame_width, bundle.temperature) == (0.08, 32, 0.3)
    assert bundle.lm.positions % 16 == 0
    assert {"frame_error", "end_error", "decoder_db", "int8"} <= bundle.quality.keys()
    main([str(smallest), "--voice", "alba", "--model", NAME, "--out", str(out)])  # an older bundle gives way
    assert [voice.id for voice in load(out).voices] == ["alba"]
    with pytest.raises(UnknownVoice, match="'marius' is not in this bundle; valid: alba"):
        load(out).voice("marius")


def test_the_command_says_what_is_wrong(smallest: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="parlando export: name at least one voice"):
        main([str(smallest)])
    (tmp_path / "letters").write_text("mine")
    with pytest.raises(SystemExit, match="is not empty and no bundle"):
        main([str(smallest), "--voice", "alba", "--model", NAME, "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


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
        load(folder)
