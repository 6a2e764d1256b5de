"""An environment with two packages of ONNX Runtime is refused, with the commands that repair it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from engines.errors import ConfigError
from engines.runtime.installed import check_one_runtime
from engines.runtime.ort import ort

ROOT = Path(__file__).resolve().parents[2]


def _install(name: str, folder: Path, *files: str) -> None:
    """As an installer leaves it."""
    facts = folder / f"{name.replace('-', '_')}-1.31.1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    (facts / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_what_pip_installs_has_the_cpu_provider_and_one_runtime() -> None:
    """This environment holds parlando's own requirements."""
    check_one_runtime()
    assert "CPUExecutionProvider" in ort.get_available_providers()
    if "onnxruntime" in {one.metadata["Name"] for one in distributions()}:
        assert "CUDAExecutionProvider" not in ort.get_available_providers()


@pytest.mark.parametrize("name", ["onnxruntime-gpu", "onnxruntime_gpu", "onnxruntime-directml"])
def test_two_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _install(name, tmp_path, "onnxruntime/__init__.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError) as refused:
        check_one_runtime()
    printed = str(refused.value)
    other = name.replace("_", "-")
    assert f"onnxruntime and {other} are both installed" in printed
    assert f"pip uninstall --yes onnxruntime {other}\n" in printed
    assert 'pip install "onnxruntime<1.32,>=1.22"' in printed
    assert "pip install -r requirements/cuda.txt" in printed


def test_relatives_with_a_module_of_their_own_are_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install("onnxruntime-extensions", tmp_path, "onnxruntime_extensions/__init__.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    check_one_runtime()


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["doctor"], ["say", "Hello."]])
def test_every_start_refuses(tmp_path: Path, command: list[str]) -> None:
    _install("onnxruntime-gpu", tmp_path, "onnxruntime/__init__.py")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    started = [sys.executable, "-m", "server", *command]
    done = subprocess.run(started, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    printed = done.stdout + done.stderr
    assert "onnxruntime and onnxruntime-gpu are both installed" in printed
    assert "pip uninstall --yes onnxruntime onnxruntime-gpu\n" in printed
    assert "Traceback" not in printed
