"""Bundles with random weights of the families that `models.gpu_graphs` has a form for, exported as a user would.

`python -m tests.gpu_graphs.checkpoints OUT` writes them for an environment without torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engines.assemble import open_bundle
from engines.families.bundle import Bundle as AnyBundle
from models.checkpoints.pocket import files, releases
from models.checkpoints.pocket.random_checkpoint import write_random
from models.checkpoints.qwen3_tts.sizes import SIZES
from models.checkpoints.qwen3_tts.writer import write_checkpoint
from models.exporting.__main__ import main
from models.exporting.pocket.export import export as export_pocket

_POCKET = "english_2m_2026-10"


def write_qwen3_tts(folder: Path) -> AnyBundle:
    write_checkpoint(folder / "checkpoint", SIZES["tiny"], "custom_voice")
    assert main([str(folder / "checkpoint"), "--out", str(folder / "bundle"), "--positions", "128"]) == 0
    return open_bundle(folder / "bundle")


def write_pocket(folder: Path) -> AnyBundle:
    write_random(folder / "checkpoint", releases.release(_POCKET), ("alba", "marius"))
    export_pocket(files.read(str(folder / "checkpoint"), ["alba", "marius"], _POCKET), folder / "bundle")
    return open_bundle(folder / "bundle")


if __name__ == "__main__":
    for name, write in (("qwen3_tts", write_qwen3_tts), ("pocket", write_pocket)):
        (Path(sys.argv[1]) / name).mkdir(parents=True)
        write(Path(sys.argv[1]) / name)
