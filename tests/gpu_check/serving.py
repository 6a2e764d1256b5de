"""Part 6: the server on the device under open-loop load over WebSocket, by the project's own load test."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.dry_cuda.voice import BUNDLE, form
from tests.gpu_check.facts import ROOT
from tests.gpu_check.report import Cell, Table
from tests.gpu_check.setting import PRETENDED, Setting, Skipped

LEVELS, SECONDS, WARM_UP, SLOTS = ("16", "64", "128", "256"), "15", "8", 512
if PRETENDED:  # as a rehearsal, with an engine that the CPU emulates
    LEVELS, SECONDS, WARM_UP, SLOTS = ("1",), "6", "2", 4
EMULATED = ROOT / "tests" / "dry_cuda" / "emulated"
_NEEDS = {"hdrh": "hdrhistogram", "matplotlib": "matplotlib", "psutil": "psutil", "websockets": "websockets"}


def run_server(setting: Setting, table: Table) -> None:
    setting.timed_device()
    missing = [package for module, package in _NEEDS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise Skipped(f"the load test needs {' '.join(missing)}: pip install it")
    out = Path(tempfile.mkdtemp(prefix="gpu-check-load-"))
    serve = f"{sys.executable} -m server serve --port {{port}} --device cuda --slots {SLOTS}"
    serve += f" --bundle {BUNDLE.folder} --gpu-form {form().folder}"
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join([str(EMULATED), *sys.path])} if PRETENDED else {})
    problems = 0
    for level in LEVELS:
        if not setting.has_time(float(SECONDS) + float(WARM_UP) + 20):
            table.note(f"out of time before {level} streams")
            return
        command = [sys.executable, "-m", "loadtests", "--level", level, "--seconds", SECONDS, "--warm-up", WARM_UP]
        command += ["--server-command", serve, "--out", str(out), "--raw", str(out), "--name", f"level-{level}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        figures = out / f"level-{level}.json"
        if not figures.is_file():
            table.row(level=int(level), problem=(done.stdout + done.stderr)[-300:])
            problems += 1
            continue
        for one in json.loads(figures.read_text())["levels"]:
            table.row(level=int(level), **_cells(one))
    assert problems < len(LEVELS), "no level could be measured"


def _cells(level: dict[str, Any]) -> dict[str, Cell]:
    found: dict[str, Cell] = {"streams": level["concurrency"]["mean"]}
    for name in ("ttfb", "audible_ttfa"):
        found |= {f"{name}_{point}_ms": level["latencies_ms"][name][point] for point in ("p50", "p95", "p99")}
    counts = level["counts"]
    return found | {
        "underruns": level["underruns"][0]["count"],
        "refused": counts["refused"],
        "failed": counts["failed"],
        "server_cores": level["server_cores"],
        "verdict": level["verdict"],
        "against": "; ".join(level["against"]),
    }
