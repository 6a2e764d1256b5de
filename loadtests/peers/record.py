"""What every part writes beside its figures: when, on what machine, at which commit, with which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASUREMENTS = Path("docs/measurements")
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Interpreters of the project's environments, and how long to measure."""

    serving: str  # without torch
    training: str  # with torch and the recogniser
    peers: str  # this benchmark's own
    port: int
    quick: bool
    kept: Path  # pocket-tts' checkpoints and bundles, made once
    sizes: tuple[str, ...]  # of pocket-tts, that are measured
    pieces: tuple[str, ...]  # of a size


def machine() -> str:
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    sets = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if name in flags]
    return f"a {os.cpu_count()}-core machine ({', '.join(sets)})"


def versions(interpreter: str, packages: list[str]) -> dict[str, str]:
    """Of packages in some environment."""
    program = (
        "import importlib.metadata as m, json, sys; print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    done = subprocess.run([interpreter, "-c", program, *packages], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def own_versions(packages: list[str]) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in packages}


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "greatest": round(max(values), 4),
    }


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def read(part: str) -> dict[str, Any]:
    """What an earlier run wrote; empty where there was none."""
    path = MEASUREMENTS / f"peers-{part}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(part: str, figures: dict[str, Any]) -> Path:
    """docs/measurements/peers-PART.json"""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "commit": commit.stdout.strip() or None,
        "command": f"make bench-peers PEERS={part}",
        "load_average_15_min": round(os.getloadavg()[2], 2),
    }
    path = MEASUREMENTS / f"peers-{part}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head | figures, indent=1) + "\n")
    return path
