"""What an export refuses, before it downloads or writes anything, and what it says when it ends on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.runtime import memory
from models.checkpoints.files import CONFIGS
from models.exporting import destination
from models.exporting.__main__ import main
from models.exporting.destination import check_out, check_room
from models.exporting.errors import ExportError
from models.exporting.qwen3_tts.tokenizer import built
from server import cli


def test_too_little_disk_or_memory_is_reported_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000_000))
    with pytest.raises(ExportError, match=r"the bundle takes 2\.5 GB, .* has 1\.0 GB free"):
        check_room(tmp_path / "new" / "out", 2_500_000_000, 0)
    monkeypatch.setattr(destination, "available_bytes", lambda: 8_000_000_000)
    with pytest.raises(ExportError, match=r"takes 16\.0 GB of memory, 8\.0 GB are available"):
        check_room(tmp_path / "out", 0, 16_000_000_000)


def test_what_an_export_that_broke_off_left_counts_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for the whole room again, which its own files had taken."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    (tmp_path / "out.partial").mkdir()
    with (tmp_path / "out.partial" / "talker.weights").open("wb") as file:
        file.truncate(2_000_000)
    check_room(tmp_path / "out", 2_900_000, 0)
    with pytest.raises(ExportError, match="the bundle takes"):
        check_room(tmp_path / "out", 3_100_000, 0)


def test_memory_of_a_control_group_counts(
    qwen3_custom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container sees the machine's memory and is killed at its own limit."""
    group = tmp_path / "groups" / "job"
    group.mkdir(parents=True)
    for name, value in (("memory.max", "1000000"), ("memory.current", "900000"), ("memory.stat", "inactive_file 0")):
        (group / name).write_text(value)
    (tmp_path / "own").write_text("0::/job\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_OWN_GROUP", tmp_path / "own")
    assert main([str(qwen3_custom), "--out", str(tmp_path / "out")]) == 1
    assert "GB of memory, 0.0 GB are available" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(
    ("asked", "words", "fetched"),
    [
        (["--out", "{folder}"], "exists already: name another folder (--out), or remove it", []),
        (["--out", "{folder}/config.json/out"], "out cannot be written (Not a directory)", []),
        (["--positions", "8"], "--positions 8 is too few, right is 64 or more", []),
        (["--positions", "100000"], "positions 100000 is out of range 64 to 32760", [[*CONFIGS]]),
        (["--name", "full"], "the bundle takes", [[*CONFIGS]]),
    ],
)
def test_what_can_be_known_is_told_before_weights_are_downloaded(
    qwen3_custom: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: list[str],
    words: str,
    fetched: list[list[str]],
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (make test brings it)")
    wanted: list[list[str]] = []

    def download(name: str, *, allow_patterns: list[str], **more: Any) -> str:
        wanted.append(allow_patterns)
        return str(qwen3_custom)

    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    if "full" in asked:
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    assert main(["hf://Qwen/Some", *(one.format(folder=qwen3_custom) for one in asked)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert wanted == fetched
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write")
def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(ExportError, match=r"/proc/new/out cannot be written \(.*\): make room there, or name another"):
        check_out(Path("/proc/new/out"))


def _configured(**change: Any) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))

    return do


def _as_integers(folder: Path) -> None:
    """A byte of the header: the type of its first tensor."""
    path = sorted(folder.glob("model-*.safetensors"))[0]
    path.write_bytes(path.read_bytes().replace(b'"BF16"', b'"I16" ', 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_configured(model_type="llama"), "is of model_type 'llama'; what can be exported is 'qwen3_tts'"),
        (_configured(unknown=1), "config.json: Object contains unknown field `unknown`"),
        (lambda folder: sorted(folder.glob("model-*.safetensors"))[1].unlink(), "of {shards} shards"),
        (lambda folder: os.truncate(sorted(folder.glob("model-*.safetensors"))[0], 50_000), "truncated: "),
        (_as_integers, "has dtype I16, this reader knows BF16, F16, F32"),
        (lambda folder: (folder / "vocab.json").unlink(), "lacks vocab.json"),
        (lambda folder: shutil.rmtree(folder / "speech_tokenizer"), "speech_tokenizer"),
        (shutil.rmtree, "is no folder; right is a folder or hf://OWNER/NAME@REVISION"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_one_line_and_nothing_is_written(
    qwen3_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    folder = shutil.copytree(qwen3_base, tmp_path / "copy")
    shards = len(list(folder.glob("model-*.safetensors")))
    damage(folder)
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message.format(shards=shards) in line
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_a_merge_outside_the_vocabulary_is_named(qwen3_custom: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(qwen3_custom, tmp_path / "copy")
    with (folder / "merges.txt").open("a") as file:
        file.write("zz qq\n")
    with pytest.raises(Exception, match=r"vocab.json and merges.txt of .* make no tokenizer"):
        built(folder)


def test_the_command_line_starts_it_and_names_the_missing_extra(
    qwen3_custom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["export", str(qwen3_custom), "--out", str(tmp_path / "out"), "--positions", "1"]
    done = subprocess.run([sys.executable, "-m", "server", *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: --positions 1 is too few, right is 64 or more" in done.stderr
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "torch" else object())
    result = CliRunner().invoke(cli.app, asked)
    assert result.exit_code == 1
    assert "export needs torch: in the checkout, pip install '.[export]'" in result.output


@pytest.mark.parametrize(
    ("ended_by", "code", "words"),
    [
        (signal.SIGKILL, 137, "models.exporting was ended by SIGKILL: most likely memory ran out"),
        (signal.SIGSEGV, 139, "models.exporting was ended by SIGSEGV"),
    ],
)
def test_an_export_that_a_signal_ended_is_told(
    monkeypatch: pytest.MonkeyPatch, ended_by: signal.Signals, code: int, words: str
) -> None:
    """The process itself prints nothing then; the status was 247."""
    ends = "import os, sys; os.kill(os.getpid(), int(sys.argv[1]))"
    run = subprocess.run
    monkeypatch.setattr(
        cli.subprocess, "run", lambda command, check: run([sys.executable, "-c", ends, str(int(ended_by))], check=check)
    )
    result = CliRunner().invoke(cli.app, ["export", "here"])
    assert result.exit_code == code
    assert words in " ".join(result.output.split())
