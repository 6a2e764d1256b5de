"""A bundle that is not whole is refused with the file or field, before anything is loaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.errors import BundleError
from engines.families.qwen3_tts.bundle import Bundle


def _manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        content = json.loads((folder / "manifest.json").read_text())
        change(content)
        (folder / "manifest.json").write_text(json.dumps(content))

    return do


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "talker.weights").unlink(), "file 'talker.weights' is not inside the bundle"),
        (lambda folder: os.truncate(folder / "talker.weights", 100), "talker.weights has sha256 .*, the manifest says"),
        (lambda folder: (folder / "manifest.json").unlink(), "is not a readable manifest"),
        (_manifest(lambda one: one.update(format=4)), "manifest format 4 is not supported, this version reads 5"),
        (_manifest(lambda one: one.update(extra=1)), "manifest: Object contains unknown field `extra`"),
        (_manifest(lambda one: one["qwen3_tts"]["talker"].update(layers=0)), r"manifest.*layers: Expected `int` >= 1"),
        (_manifest(lambda one: one["qwen3_tts"]["talker"].update(step="no")), "'no' is used but has no hash"),
    ],
)
def test_what_is_wrong_is_named(bundle: Bundle, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = shutil.copytree(bundle.folder, tmp_path / "copy")
    damage(folder)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def test_serve_says_it_in_one_line(bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle.folder, tmp_path / "copy")
    os.truncate(folder / "vocoder.weights", 100)
    command = [sys.executable, "-m", "server", "serve", "--bundle", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert re.search("error vocoder.weights has sha256 .*, the manifest says", done.stderr)
    assert "Traceback" not in done.stderr
