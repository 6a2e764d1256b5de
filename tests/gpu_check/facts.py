"""What was measured where: commit, device, driver and versions. Every reading may be absent; none may fail."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.gpu_check.report import Cell
from tests.gpu_check.setting import PRETENDED

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("onnxruntime-gpu", "onnxruntime", "onnx", "numpy", "tensorrt", "torch", "triton", "transformers")


def machine_facts(commit: str | None = None) -> dict[str, Cell]:
    """`commit` is for a copy of the code without its history."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or _commit(),
        "GPU": "pretended" if PRETENDED else _asked("name") or "none",
        "driver": "pretended" if PRETENDED else _asked("driver_version") or "none",
        "python": platform.python_version(),
    } | _versions()


def _versions() -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    commit = _first_line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    if not commit:
        return "unknown"
    changed = _first_line(["git", "-C", str(ROOT), "status", "--porcelain", "--", "engines", "models", "tests"])
    return f"{commit} with changes" if changed else commit


def _asked(what: str) -> str:
    return _first_line(["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"])


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""
