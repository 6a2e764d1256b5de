"""`parlando build-engine` and `export --device tensorrt`: what they start, and each error on the way in plain words."""

from __future__ import annotations

import errno
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("typer")

from typer.testing import CliRunner

from engines.errors import ConfigError
from engines.families.bundle import Bundle as AnyBundle
from engines.runtime.tensorrt import PLANS
from models import tensorrt_plans
from models.gpu_graphs import __main__ as gpu_graphs
from server import cli
from tests.dry_cuda.fake_device import FakeDevice
from tests.plans.fake_tensorrt import FakeTensorRt


def has(monkeypatch: pytest.MonkeyPatch, *packages: str, lacks: tuple[str, ...] = ()) -> None:
    def found(name: str) -> object:
        return None if name in lacks else True if name in packages else find_spec(name)

    monkeypatch.setattr(cli, "find_spec", found)


def parlando(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, [*words])
    return done.exit_code, " ".join(done.output.split())


def started(monkeypatch: pytest.MonkeyPatch, *codes: int) -> list[list[str]]:
    """Commands of processes that end with these codes and do nothing."""
    commands: list[list[str]] = []

    def run(command: list[str], check: bool) -> Any:
        commands.append(command[1:])
        return SimpleNamespace(returncode=codes[len(commands) - 1])

    monkeypatch.setattr(cli, "subprocess", SimpleNamespace(run=run))
    return commands


@pytest.mark.parametrize("asked", [("build-engine",), ("export", "nowhere", "--device", "tensorrt", "--out", "x")])
def test_a_missing_builder_is_told_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    has(monkeypatch, "torch", "onnx", "onnxscript", "tokenizers", lacks=("tensorrt",))
    code, told = parlando(*asked)
    assert code == 1
    assert "needs tensorrt: pip install 'tensorrt-cu13>=11.4,<11.5'" in told


def test_an_export_for_tensorrt_builds_plans_behind_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "torch", "onnx", "onnxscript", "tokenizers", "tensorrt")
    commands = started(monkeypatch, 0, 0)
    assert parlando("export", "here", "--device", "tensorrt", "--out", "made")[0] == 0
    assert commands[0][:3] == ["-m", "models.exporting", "here"]
    assert commands[1] == ["-m", "models.tensorrt_plans", "made-gpu", "--bundle", "made"]


@pytest.mark.parametrize(
    ("device", "again"),
    [("cuda", "export-gpu made-gpu --bundle made"), ("tensorrt", "build-engine made --out made-gpu")],
)
def test_what_failed_behind_the_bundle_is_told_with_the_command_for_it(
    monkeypatch: pytest.MonkeyPatch, device: str, again: str
) -> None:
    has(monkeypatch, "torch", "onnx", "onnxscript", "tokenizers", "tensorrt")
    started(monkeypatch, 0, 2)
    code, told = parlando("export", "here", "--device", device, "--out", "made")
    assert (code, told) == (2, f"made is whole; for the rest, again: parlando {again}")


def test_build_engine_hands_on_bundle_and_type(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "onnx", "tensorrt")
    commands = started(monkeypatch, 0)
    assert parlando("build-engine", "made", "--out", "form", "--dtype", "bfloat16")[0] == 0
    assert commands == [["-m", "models.tensorrt_plans", "form", "--bundle", "made", "--dtype", "bfloat16"]]


# -- the process that builds


def built(monkeypatch: pytest.MonkeyPatch, *arguments: object, device: Any = FakeDevice) -> int:
    monkeypatch.setattr(tensorrt_plans, "tensorrt", lambda: FakeTensorRt(FakeDevice()))
    monkeypatch.setattr(tensorrt_plans, "CudaDevice", device)
    monkeypatch.setattr(sys, "argv", ["models.tensorrt_plans", *map(str, arguments)])
    return tensorrt_plans.main()


def test_a_build_shows_its_progress_and_names_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], qwen3_tts: AnyBundle, tmp_path: Path
) -> None:
    assert built(monkeypatch, tmp_path / "form", "--bundle", qwen3_tts.folder) == 0
    told = capsys.readouterr().out
    assert all(f"{name}: Building" in told for name in ("frame", "prefill", "vocoder"))
    assert "".join(told.split()).endswith(str(tmp_path / "form/tensorrt" / PLANS))


def test_a_machine_without_a_gpu_is_told_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], qwen3_tts: AnyBundle, tmp_path: Path
) -> None:
    def none() -> Any:
        raise ConfigError("libcudart.so.13 cannot be loaded")

    assert built(monkeypatch, tmp_path / "form", "--bundle", qwen3_tts.folder, device=none) == 2
    assert "parlando: libcudart.so.13 cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "form").exists()


@pytest.mark.parametrize("module", [tensorrt_plans, gpu_graphs])
def test_a_disk_that_is_full_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, module: Any
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "export", full)
    monkeypatch.setattr(gpu_graphs.sys, "argv", ["models.gpu_graphs", str(tmp_path / "form")])
    assert (gpu_graphs.main() if module is gpu_graphs else built(monkeypatch, tmp_path / "form")) == 2
    assert "parlando: [Errno 28] No space left on device" in capsys.readouterr().err


def test_a_type_without_kernels_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], qwen3_tts: AnyBundle, tmp_path: Path
) -> None:
    assert built(monkeypatch, tmp_path / "form", "--bundle", qwen3_tts.folder, "--dtype", "float32") == 2
    assert "plans are of float16 or bfloat16, float32 was asked for" in capsys.readouterr().err
