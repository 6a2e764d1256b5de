"""Writes the GPU form of a bundle into a folder: python -m models.gpu_graphs OUT [--bundle DIR] [--dtype float16]."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx

from engines.errors import ParlandoError
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from models.gpu_graphs.building import TYPES
from models.gpu_graphs.goldens import goldens
from models.gpu_graphs.lm import Attend, decode, verify
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights

FORMAT = 1
SPARE_POSITIONS = 10  # beyond the longest segment, for steps that are computed and taken back


def export(bundle: Bundle, out: Path, dtype: str) -> Path:
    """Returns the path of the manifest, which is written last."""
    lm, sound = LmWeights.of(bundle), VocoderWeights.of(bundle)
    positions = bundle.adapter.max_steps + SPARE_POSITIONS
    drafted = bundle.drafts.length if bundle.drafts else 0
    attend = Attend.GROUPED if dtype != "float32" else Attend.CAUSAL
    graphs = {"decode.onnx": decode(lm, dtype, positions, attend), "vocoder.onnx": vocoder(sound, dtype)}
    graphs |= {f"verify-{steps}.onnx": verify(lm, dtype, positions, steps) for steps in range(2, drafted + 2)}
    out.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        onnx.save(graph, out / name)
    np.savez(out / "goldens.npz", **goldens(bundle, lm, sound))
    manifest = {
        "format": FORMAT,
        "bundle": bundle.digest,
        "dtype": dtype,
        "positions": positions,
        "draft_frames": drafted,
        "state_values": sum(int(np.prod(shape)) for shape in state_shapes(sound)),
        "files": {name: _sha256(out / name) for name in (*graphs, "goldens.npz")},
    }
    (out / "gpu.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return out / "gpu.json"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.gpu_graphs", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", type=Path, help="default: the shipped voice")
    parser.add_argument("--dtype", choices=sorted(TYPES), default="float16")
    chosen = parser.parse_args()
    try:
        print(export(load_bundle(chosen.bundle), chosen.out, chosen.dtype))
    except ParlandoError as error:
        print(f"parlando: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
