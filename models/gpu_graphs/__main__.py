"""Writes the GPU form of a bundle into a folder: python -m models.gpu_graphs OUT [--bundle DIR] [--dtype float16]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from engines.assemble import open_bundle
from engines.errors import ParlandoError
from engines.families.bundle import Bundle as AnyBundle
from engines.families.phone_pointer.bundle import Bundle
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from models.gpu_graphs import pocket_form, qwen3_form
from models.gpu_graphs.building import TYPES
from models.gpu_graphs.goldens import goldens
from models.gpu_graphs.lm import Attend, decode, verify
from models.gpu_graphs.pointer_plans import SPARE_POSITIONS
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights
from models.gpu_graphs.writing import Form, write


def export(bundle: AnyBundle, out: Path, dtype: str) -> Path:
    """Returns the path of the manifest, which is written last."""
    if isinstance(bundle, Qwen3TtsBundle):
        return write(bundle, qwen3_form.form(bundle, dtype), out)
    if isinstance(bundle, PocketBundle):
        return write(bundle, pocket_form.form(bundle, dtype), out)
    assert isinstance(bundle, Bundle)
    return write(bundle, _pointer_form(bundle, dtype), out)


def _pointer_form(bundle: Bundle, dtype: str) -> Form:
    lm, sound = LmWeights.of(bundle), VocoderWeights.of(bundle)
    positions = bundle.adapter.max_steps + SPARE_POSITIONS
    drafted = bundle.drafts.length if bundle.drafts else 0
    attend = Attend.GROUPED if dtype != "float32" else Attend.CAUSAL
    graphs = {"decode": decode(lm, dtype, positions, attend), "vocoder": vocoder(sound, dtype)}
    graphs |= {f"verify-{steps}": verify(lm, dtype, positions, steps) for steps in range(2, drafted + 2)}
    state_values = sum(int(np.prod(shape)) for shape in state_shapes(sound))
    return Form(
        graphs=graphs,
        goldens=goldens(bundle, lm, sound),
        dtype=dtype,
        positions=positions,
        numbers={"draft_frames": drafted, "state_values": state_values},
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.gpu_graphs", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", type=Path, help="a folder, or a voice that ships; without it natural")
    parser.add_argument("--dtype", choices=sorted(TYPES), default="float16")
    chosen = parser.parse_args()
    try:
        print(export(open_bundle(chosen.bundle), chosen.out, chosen.dtype))
    except (ParlandoError, OSError) as error:  # such as a disk that is full
        print(f"parlando: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
