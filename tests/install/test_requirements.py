"""`requirements/cuda.txt`: the same as the package asks for, but for the runtime; and it can be had."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.install.checkout import ROOT, copied

CUDA = ROOT / "requirements/cuda.txt"
IMAGE = (ROOT / "deploy/docker/Dockerfile.cuda").read_text()
TRIES = """
from engines.runtime.ort import ort
assert "CUDAExecutionProvider" in ort.get_available_providers()
from engines.assemble import load_engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.synth import speak
assert speak(load_engine(load_bundle(), EngineConfig(slots=1)), "Hello.").pcm
"""


def by_name(lines: list[str]) -> dict[str, str]:
    return {re.split(r"[\[<>=~;! ]", line, maxsplit=1)[0]: line for line in lines}


def test_it_is_the_package_with_another_runtime() -> None:
    wanted = by_name(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    given = by_name([line for line in CUDA.read_text().splitlines() if line and not line.startswith("#")])
    assert wanted.pop("onnxruntime").endswith(",<1.32")
    assert given.pop("onnxruntime-gpu") == "onnxruntime-gpu[cuda]>=1.31,<1.32"
    assert given.pop("nvidia-cublas") == "nvidia-cublas>=13,<14"
    assert given == wanted


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_resolves_and_speaks(tmp_path: Path) -> None:
    """Everything is resolved; what is installed leaves out NVIDIA's libraries, 1.3 GB that only a GPU needs."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/pip"), "--disable-pip-version-check", "--quiet", "install"]
    probe = subprocess.run([*pip, "--dry-run", "--no-deps", "typer"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip("no package index can be reached")
    report = tmp_path / "report.json"
    subprocess.run([*pip, "--dry-run", "--report", str(report), "-r", str(CUDA)], check=True)
    found = {
        one["metadata"]["name"].lower(): f"{one['metadata']['name']}=={one['metadata']['version']}"
        for one in json.loads(report.read_text())["install"]
    }
    assert "onnxruntime" not in found
    assert {"onnxruntime-gpu", "nvidia-cuda-runtime", "nvidia-cublas"} <= set(found)
    assert "nvidia-cudnn-cu13" not in found, "gigabytes that no session asks for"
    subprocess.run(
        [*pip, "--no-deps", *(one for name, one in found.items() if not name.startswith("nvidia-"))], check=True
    )
    subprocess.run([*pip, "--no-deps", str(copied(tmp_path / "checkout"))], check=True)
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = [str(tmp_path / "venv/bin/parlando"), "doctor"]
    for command in ([str(tmp_path / "venv/bin/python"), "-c", TRIES], done):
        subprocess.run(command, cwd=tmp_path, env=alone | {"PARLANDO_PORT": "0"}, check=True)
    writes = re.findall(r"(?:\S+pip .*gpu-form|PYTHONPATH=/tmp/onnx).*(?= \\$)", IMAGE, re.MULTILINE)
    assert len(writes) == 2
    for line in writes:  # the image's own, in this environment: what it installs suffices
        moved = line.replace("/opt/parlando", str(tmp_path / "venv")).replace("/tmp/onnx", str(tmp_path / "onnx"))
        moved = moved.replace("requirements/", f"{ROOT}/requirements/").removeprefix(" && ")
        subprocess.run(["sh", "-c", moved], cwd=tmp_path, env=alone, check=True)
    assert (tmp_path / "venv/gpu-form/gpu.json").is_file()
