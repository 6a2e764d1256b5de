"""What decides the GPU design, in one command: python loadtests/gpu_spike.py --parts 1,2 --out DIR

Needs torch, numpy, onnx and onnxruntime(-gpu), nothing of ours and no installation. Each step is a process with a time
box and a table of its own; docs/measurements/gpu-status.md says how to read the tables and what has run where.
Without a GPU all of it runs on tiny shapes.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] != str(ROOT):  # started as a file: the folder above holds the package
    sys.path.insert(0, str(ROOT))

from loadtests.gpu.facts import machine_facts
from loadtests.gpu.parts import PARTS
from loadtests.gpu.runner import Options, run_parts, run_step

TABLES = ROOT / "docs" / "measurements" / "gpu-spike"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="all", help="numbers, separated by commas; all by default")
    parser.add_argument("--out", type=Path, help="by default docs/measurements/gpu-spike/ and the device's name")
    parser.add_argument("--commit", help="what is measured, where the copy of the code has no git to ask")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--size", choices=("auto", "tiny", "full"), default="auto", help="auto: full on a GPU")
    parser.add_argument("--limit-s", type=float, help="seconds for each step in place of its own box")
    parser.add_argument("--step", help="run this one step in this process")
    given = parser.parse_args()
    facts = {} if given.step else machine_facts(given.commit)
    out = given.out or TABLES / table_folder("cpu" if given.device == "cpu" else str(facts.get("GPU", "none")))
    options = Options(out=out, device=given.device, size=given.size, limit_s=given.limit_s)
    if given.step:
        return run_step(given.step, options)
    numbers = {part.number for part in PARTS}
    wanted = numbers if given.parts == "all" else {_number(text, numbers) for text in given.parts.split(",")}
    parts = [part for part in PARTS if part.number in wanted]
    is_whole = run_parts([sys.executable, str(Path(__file__).resolve())], parts, options, facts)
    print(f"tables: {options.out}")
    return 0 if is_whole else 1


def table_folder(device: str) -> str:
    """Each kind of device has its own tables: a run on a CPU overwrites none of a GPU's."""
    return "cpu" if device == "none" else re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def _number(text: str, numbers: set[int]) -> int:
    if not text.strip().isdigit() or int(text) not in numbers:
        raise SystemExit(f"--parts takes numbers from {sorted(numbers)}, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
