"""Builds TensorRT's plans of the shipped voice on this machine: python -m models.tensorrt_plans OUT [--bundle DIR].

OUT is a GPU form, as `parlando export-gpu` writes it; it is written first where it is missing, since its goldens decide
whether a plan may serve. The plans go into OUT/tensorrt: the speech LM with profiles for decode, verification and
prefill, the draft heads, the vocoder.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import onnx
from rich.progress import Progress

from engines.errors import ParlandoError
from engines.families.common.randomness import tables
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.runtime.device import CudaDevice
from engines.runtime.tensorrt import FORMAT, PLANS, Part, Plans, tensorrt
from engines.runtime.tensorrt_build import Plan, Range, build
from models.gpu_graphs.__main__ import SPARE_POSITIONS, export
from models.gpu_graphs.mask_form import speech_lm
from models.gpu_graphs.standard import in_standard_operators
from models.gpu_graphs.synthesis import HOPS
from models.gpu_graphs.vocoder import vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights

DTYPE = "float16"  # the mask form has no float32 kernel
MOST_ROWS, MOST_CODES = 512, 8
_GOLDENS = "goldens.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A graph in standard operators, the lengths of its free axes by profile, and the parts that its plan plays."""

    model: onnx.ModelProto
    profiles: tuple[dict[str, Range], ...]
    parts: dict[str, Part]

    @property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Of inputs and outputs."""
        ends = (*self.model.graph.input, *self.model.graph.output)
        return {one.name: tuple(d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim) for one in ends}

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        return {one.name: self.shapes[one.name] for one in self.model.graph.input}


def planned(bundle: Bundle) -> dict[str, Planned]:
    """By the name of the plan."""
    found = {"lm": _lm(bundle), "vocoder": _vocoder(bundle)}
    if bundle.drafts is not None:
        drafts = in_standard_operators(onnx.load(bundle.folder / bundle.drafts.sampled))
        found["drafts"] = Planned(model=drafts, profiles=(), parts={"drafts-sampled": Part(plan="drafts.plan")})
    return found


def _lm(bundle: Bundle) -> Planned:
    drafted = bundle.drafts.length if bundle.drafts else 0
    noise = len(tables()[1]) + bundle.codes.count
    whole: dict[str, Range] = {"N": (noise, noise, noise)}
    profiles: list[dict[str, Range]] = [
        {"B": (1, 32, MOST_ROWS), "S": (1, 1, 1)},
        {"B": (1, 8, MOST_ROWS), "S": (2, 2, 2) if drafted < 2 else (2, drafted + 1, drafted + 1)},
        {"B": (1, 2, 4), "S": (8, 32, 64)},
    ]
    common = {"plan": "lm.plan", "counted": ("steps",)}
    parts = {"decode": Part(**common, lengths={"S": 1}, named={"before": "last"})}
    for steps in range(2, drafted + 2):
        parts[f"verify-{steps}"] = Part(
            **common,
            profile=1,
            lengths={"S": steps},
            joined={"before": ("last", "drafted")},
            given={"is_active": 1},
            unread=("last_out",),
        )
    model = speech_lm(LmWeights.of(bundle), DTYPE, bundle.adapter.max_steps + SPARE_POSITIONS)
    return Planned(model=model, profiles=tuple(one | whole for one in profiles), parts=parts)


def _vocoder(bundle: Bundle) -> Planned:
    each, noise = bundle.frames_per_code, len(tables()[0])
    most = MOST_CODES * each
    ranges: dict[str, Range] = {
        "R": (1, 8, MOST_ROWS),
        "F": (1, 2, MOST_CODES),
        "N": (each, 2 * each, most),
        "M": (each + HOPS - 1, 2 * each + HOPS - 1, most + HOPS - 1),
        "slots": (2, 2 * 64, 2 * MOST_ROWS),
        "T": (noise, noise, noise),
    }
    model = in_standard_operators(vocoder(VocoderWeights.of(bundle), DTYPE))
    return Planned(model=model, profiles=(ranges,), parts={"vocoder": Part(plan="vocoder.plan")})


def write(bundle: Bundle, out: Path, trt: Any, capability: tuple[int, int], told: Callable[[str, float], None]) -> Path:
    """Returns the path of the list, which is written last. What an earlier build timed is not timed again."""
    if not (out / "gpu.json").is_file():
        export(bundle, out, DTYPE)
    folder, all_planned = out / "tensorrt", planned(bundle)
    folder.mkdir(exist_ok=True)
    timed = folder / "timing.cache"
    cache = timed.read_bytes() if timed.is_file() else b""
    for name, one in all_planned.items():

        def of_this(phase: str, share: float, name: str = name) -> None:
            told(f"{name}: {phase}", share)

        content = one.model.SerializeToString()
        plan: Plan = build(trt, content, one.input_shapes, one.profiles, cache=cache, progress=of_this)
        cache = plan.cache
        (folder / f"{name}.plan").write_bytes(plan.content)
        timed.write_bytes(cache)
    shutil.copy(out / _GOLDENS, folder / _GOLDENS)
    names = [*(f"{name}.plan" for name in all_planned), _GOLDENS]
    plans = Plans(
        format=FORMAT,
        tensorrt=trt.__version__,
        capability=capability,
        shapes={f"{name}.plan": one.shapes for name, one in all_planned.items()},
        graphs={stem: part for one in all_planned.values() for stem, part in one.parts.items()},
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names},
    )
    (folder / PLANS).write_bytes(msgspec.json.format(msgspec.json.encode(plans), indent=1))
    return folder / PLANS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.tensorrt_plans", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", type=Path, help="default: the shipped voice")
    chosen = parser.parse_args()
    try:
        trt, device = tensorrt(), CudaDevice()
        with Progress() as bars:
            shown: dict[str, Any] = {}

            def told(phase: str, share: float) -> None:
                if phase not in shown:
                    shown[phase] = bars.add_task(phase, total=1.0)
                bars.update(shown[phase], completed=share)

            path = write(load_bundle(chosen.bundle), chosen.out, trt, device.facts().capability, told)
        print(path)
    except ParlandoError as error:
        print(f"parlando: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
