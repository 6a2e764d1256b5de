"""Runs tests/dry_cuda against the pretended CUDA libraries: `make test-gpu-dry`, or python tests/dry_cuda/run.py ARGS.

Builds an environment of its own with onnxruntime-gpu, once; from then on it needs no package index. Where a piece
cannot be had it says which and succeeds, since everything but the real GPU runs elsewhere too.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-gpu-dry"
HEADERS = ENVIRONMENT / "headers"  # beside the packages, not among them: their wheel holds the real library too
LIBRARIES = ENVIRONMENT / "pretended"
BUNDLES = ENVIRONMENT / "bundles"
CUDA_HEADERS = ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88")
_ON_ALL_CORES = ("-n", "auto", "--dist", "loadfile")
_PIP = (str(ENVIRONMENT / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class CannotBeHad(Exception):
    """What is missing here, and why."""


def main(arguments: list[str]) -> int:
    try:
        prepare()
    except CannotBeHad as reason:
        print(f"SKIPPED tests/dry_cuda: {reason}")
        return 0
    command = [str(ENVIRONMENT / "bin/python"), "-m", "pytest", "-rs", *(arguments or [*_ON_ALL_CORES, str(HERE)])]
    return subprocess.run(command, cwd=ROOT, env=environment(), check=False).returncode


def environment() -> dict[str, str]:
    ours = {"LD_LIBRARY_PATH": str(LIBRARIES), "DRY_CUDA": str(LIBRARIES), "DRY_BUNDLES": str(BUNDLES)}
    return os.environ | ours | {"ORT_DISABLE_TELEMETRY": "1"}


def prepare() -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise CannotBeHad(f"onnxruntime-gpu has no wheel for {sys.platform} on {platform.machine()}")
    if shutil.which("g++") is None:
        raise CannotBeHad("no g++ to compile the pretended libraries with")
    wanted = _requirements()
    _once("packages", _digest(wanted), lambda: _install(wanted))
    _once("bundles", _digest(*(path.read_text() for path in _exporters())), _export)
    sources = [HERE / "build.py", *sorted((HERE / "libraries").iterdir())]
    _once("libraries", _digest(*(path.read_text() for path in sources)), _compile)


def _requirements() -> str:
    """What `make gpu-check` installs without the gigabytes of CUDA libraries, and what the tests want besides."""
    serving = (ROOT / "requirements/cuda.txt").read_text().replace("[cuda]", "").replace("nvidia-cublas>=13,<14\n", "")
    return serving + (ROOT / "tests/gpu_check/requirements.txt").read_text() + (HERE / "requirements.txt").read_text()


def _install(requirements: str) -> None:
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    listed = ENVIRONMENT / "requirements.txt"
    listed.write_text(requirements)
    _try("the packages", *_PIP, "-r", str(listed))
    _try("CUDA's headers", *_PIP, "--no-deps", "--target", str(HEADERS), *CUDA_HEADERS)


def _compile() -> None:
    shutil.rmtree(LIBRARIES, ignore_errors=True)
    _try("the pretended libraries", sys.executable, str(HERE / "build.py"), str(LIBRARIES), str(_include()))


def _exporters() -> list[Path]:
    folders = [ROOT / "models/exporting", ROOT / "models/checkpoints", ROOT / "tests/gpu_graphs"]
    seeing = ROOT / "tests/engine/seeing.py"
    return [HERE / "bundles.py", seeing, *sorted(path for folder in folders for path in folder.rglob("*.py"))]


def _export() -> None:
    """By an interpreter that has torch; the tests of other families than the shipped voice skip without one."""
    shutil.rmtree(BUNDLES, ignore_errors=True)
    for python in (sys.executable, str(ROOT / ".venv-dev/bin/python")):
        probe = [python, "-c", "import torch, sentencepiece"]
        if Path(python).exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            _try("the bundles", python, "-m", "tests.dry_cuda.bundles", str(BUNDLES))
            return
    print("no torch at hand: Qwen3-TTS and pocket-tts are not run on the pretended device")


def _include() -> Path:
    return next(HEADERS.rglob("cuda_runtime_api.h")).parent


def _try(what: str, *command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBeHad(f"{what} cannot be had: {done.stderr.strip()[-2000:]}")


def _once(name: str, digest: str, work: Callable[[], None]) -> None:
    stamp = ENVIRONMENT / f"{name}.ready"
    if stamp.exists() and stamp.read_text() == digest:
        return
    work()
    stamp.write_text(digest)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
