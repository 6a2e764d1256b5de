"""Bundles with random weights for the dry run, whose environment has no torch: python -m tests.dry_cuda.bundles OUT."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.engine.seeing import write_seeing
from tests.gpu_graphs.checkpoints import write_pocket, write_qwen3_tts


def main(out: Path) -> None:
    for name, write in (("qwen3_tts", write_qwen3_tts), ("pocket", write_pocket), ("seeing", write_seeing)):
        (out / name).mkdir(parents=True)
        write(out / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
