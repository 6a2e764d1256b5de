"""What was measured where: commit, device, driver and versions. Every reading may be absent; none may fail."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from loadtests.gpu.report import Cell

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "triton", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "transformers")


def machine_facts(commit: str | None = None) -> dict[str, Cell]:
    """Needs no package beside Python. `commit` is for a copy of the code without its history."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or _commit(),
        "GPU": _first_line(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]) or "none",
        "driver": _driver(),
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
    changed = _first_line(["git", "-C", str(ROOT), "status", "--porcelain", "--", "loadtests"])
    return f"{commit} with changes" if changed else commit


def _driver() -> str:
    driver = _first_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    if driver:
        return driver
    kernel_module = Path("/proc/driver/nvidia/version")
    return kernel_module.read_text().splitlines()[0] if kernel_module.exists() else "none"


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""
