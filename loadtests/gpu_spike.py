"""What decides the GPU design, in one command: python loadtests/gpu_spike.py --parts 1,2 --out DIR

Needs torch, numpy, onnx and onnxruntime(-gpu), nothing of ours and no installation. Each step is a process with a time
box and a table of its own; docs/gpu-spike.md explains the tables. Without a GPU all of it runs on tiny shapes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if sys.path[0] != str(ROOT):  # started as a file: the folder above holds the package
    sys.path.insert(0, str(ROOT))

from loadtests.gpu.parts import PARTS
from loadtests.gpu.runner import Options, run_parts, run_step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="all", help="numbers, separated by commas; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "measurements" / "gpu-spike")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--size", choices=("auto", "tiny", "full"), default="auto", help="auto: full on a GPU")
    parser.add_argument("--limit-s", type=float, help="seconds for each step in place of its own box")
    parser.add_argument("--step", help="run this one step in this process")
    given = parser.parse_args()
    options = Options(out=given.out, device=given.device, size=given.size, limit_s=given.limit_s)
    if given.step:
        return run_step(given.step, options)
    numbers = {part.number for part in PARTS}
    wanted = numbers if given.parts == "all" else {_number(text, numbers) for text in given.parts.split(",")}
    parts = [part for part in PARTS if part.number in wanted]
    is_whole = run_parts([sys.executable, str(Path(__file__).resolve())], parts, options)
    print(f"tables: {options.out}")
    return 0 if is_whole else 1


def _number(text: str, numbers: set[int]) -> int:
    if not text.strip().isdigit() or int(text) not in numbers:
        raise SystemExit(f"--parts takes numbers from {sorted(numbers)}, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
