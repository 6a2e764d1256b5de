"""Proves and measures the GPU engine on the GPU of this machine: python -m tests.gpu_check --parts 0-3

Each step is a process with a time box and a table of its own, on disk from its first row on: a crash, a hang or a
missing package costs one table. docs/measurements/gpu-status.md is written from the tables that are committed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tests.gpu_check.facts import ROOT, machine_facts
from tests.gpu_check.parts import PARTS
from tests.gpu_check.runner import Options, run_parts, run_step

TABLES = ROOT / "docs" / "measurements" / "gpu"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="all", help="numbers and ranges, as 0-3,5; all by default")
    parser.add_argument("--out", type=Path, help="by default docs/measurements/gpu/ and the device's name")
    parser.add_argument("--commit", help="what is measured, where the copy of the code has no git to ask")
    parser.add_argument("--limit-s", type=float, help="seconds for each step in place of its own box")
    parser.add_argument("--step", help="run this one step in this process, with its traceback")
    given = parser.parse_args(arguments)
    facts = {} if given.step else machine_facts(given.commit)
    out = given.out or TABLES / table_folder(str(facts.get("GPU", "none")))
    options = Options(out=out, limit_s=given.limit_s)
    if given.step:
        return run_step(given.step, options)
    numbers = wanted_parts(given.parts)
    parts = [part for part in PARTS if part.number in numbers]
    is_whole = run_parts([sys.executable, "-m", "tests.gpu_check"], parts, options, facts)
    print(f"tables: {options.out}")
    return 0 if is_whole else 1


def table_folder(device: str) -> str:
    """Each kind of device has its own tables."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def wanted_parts(text: str) -> set[int]:
    """`0-3,5` -> {0, 1, 2, 3, 5}. Exits with what is valid."""
    known = {part.number for part in PARTS}
    if text == "all":
        return known
    wanted: set[int] = set()
    for one in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", one)
        numbers = set(range(int(found[1]), int(found[2] or found[1]) + 1)) if found else set()
        if not numbers or not numbers <= known:
            raise SystemExit(f"--parts takes numbers from {min(known)} to {max(known)} and ranges, got {text!r}")
        wanted |= numbers
    return wanted


if __name__ == "__main__":
    sys.exit(main())
