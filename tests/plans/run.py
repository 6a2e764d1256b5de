"""Runs tests/plans with real TensorRT packages: `make test-tensorrt`. Where they cannot be had it says so and succeeds,
since everything but the real builder runs elsewhere too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-tensorrt"
_PIP = (str(ENVIRONMENT / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")


def main(arguments: list[str]) -> int:
    wanted, stamp = (HERE / "requirements.txt").read_text(), ENVIRONMENT / "packages.ready"
    if not stamp.is_file() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        command = [*_PIP, "-r", str(HERE / "requirements.txt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"SKIPPED tests/plans with TensorRT: its packages cannot be had: {done.stderr.strip()[-1000:]}")
            return 0
        stamp.write_text(wanted)
    command = [str(ENVIRONMENT / "bin/python"), "-m", "pytest", "-rs", *(arguments or [str(HERE)])]
    with TemporaryDirectory() as bundles:
        _export(Path(bundles))
        return subprocess.run(command, cwd=ROOT, env=os.environ | {"PLANS_BUNDLES": bundles}, check=False).returncode


def _export(folder: Path) -> None:
    """By an interpreter that has torch; without one neither pocket-tts nor a vocoder of Qwen3-TTS is built."""
    for python in (sys.executable, str(ROOT / ".venv-dev/bin/python")):
        probe = [python, "-c", "import torch, tokenizers, sentencepiece"]
        if Path(python).exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            subprocess.run([python, "-m", "tests.gpu_graphs.checkpoints", str(folder)], cwd=ROOT, check=True)
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
