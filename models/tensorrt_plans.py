"""Builds TensorRT's plans of a bundle on this machine: python -m models.tensorrt_plans OUT [--bundle DIR].

OUT is a GPU form, as `parlando export-gpu` writes it; it is written first where it is missing, since its goldens decide
whether a plan may serve. The plans go into OUT/tensorrt, a plan for each network of the family.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import Progress

from engines.assemble import open_bundle
from engines.errors import BundleError, ParlandoError
from engines.families.bundle import Bundle as AnyBundle
from engines.families.common.device_form import DeviceForm
from engines.families.phone_pointer.bundle import Bundle as PointerBundle
from engines.families.pocket.bundle import Bundle as PocketBundle
from engines.families.qwen3_tts.bundle import Bundle as Qwen3TtsBundle
from engines.runtime.device import CudaDevice
from engines.runtime.tensorrt import FORMAT, PLANS, Part, Plans, tensorrt
from engines.runtime.tensorrt_build import build
from models.gpu_graphs import pocket_plans, pointer_plans, qwen3_plans
from models.gpu_graphs.__main__ import export
from models.gpu_graphs.planned import Planned
from models.gpu_graphs.writing import save

DTYPES = ("float16", "bfloat16")  # attention under a mask has no float32 kernel
_GOLDENS = "goldens.npz"
_GRAPH = ".graph-"  # of a plan that is being built
_KINDS: dict[str, Callable[[Any, str], dict[str, Callable[[], Planned]]]] = {
    PointerBundle.FAMILY: pointer_plans.plans,
    PocketBundle.FAMILY: pocket_plans.plans,
    Qwen3TtsBundle.FAMILY: qwen3_plans.plans,
}


def planned(bundle: AnyBundle, dtype: str = DTYPES[0]) -> dict[str, Callable[[], Planned]]:
    """By the name of the plan, each made when it is asked for. Raises BundleError."""
    if bundle.family not in _KINDS:
        can = ", ".join(sorted(_KINDS))
        raise BundleError(f"{bundle.name!r} is of family {bundle.family!r}; plans are built of {can}")
    return _KINDS[bundle.family](bundle, dtype)


def write(
    bundle: AnyBundle,
    out: Path,
    trt: Any,
    capability: tuple[int, int],
    told: Callable[[str, float], None],
    dtype: str | None = None,
) -> Path:
    """Returns the path of the list, which is written last. What an earlier build timed is not timed again. `dtype`: of
    the GPU form; without one what it has, float16 where it is written here. Raises BundleError."""
    check(bundle, out, dtype)
    if not (out / "gpu.json").is_file():
        export(bundle, out, dtype or DTYPES[0])
    all_planned = planned(bundle, DeviceForm.load(out, bundle).dtype)
    folder = out / "tensorrt"
    try:
        folder.mkdir(exist_ok=True)
        (folder / PLANS).unlink(missing_ok=True)
        for broken_off in folder.glob(f"{_GRAPH}*"):
            shutil.rmtree(broken_off)
        shapes, graphs = dict[str, Any](), dict[str, Part]()
        for name, make in all_planned.items():
            one = make()
            _build(one, folder, name, trt, told)
            shapes[f"{name}.plan"], graphs = one.shapes, graphs | one.parts
        shutil.copy(out / _GOLDENS, folder / _GOLDENS)
        names = [*shapes, _GOLDENS]
        plans = Plans(
            format=FORMAT,
            tensorrt=trt.__version__,
            capability=capability,
            shapes=shapes,
            graphs=graphs,
            files={name: _sha256(folder / name) for name in names},
        )
        (folder / PLANS).write_bytes(msgspec.json.format(msgspec.json.encode(plans), indent=1))
    except OSError as error:
        raise BundleError(f"plans cannot be written to {folder}: {error}") from error
    return folder / PLANS


def check(bundle: AnyBundle, out: Path, dtype: str | None) -> None:
    """What can be known before hours of work. Raises BundleError."""
    planned(bundle)
    valid = " or ".join(DTYPES)
    if dtype is not None and dtype not in DTYPES:
        raise BundleError(f"plans are of {valid}, {dtype} was asked for")
    if not (out / "gpu.json").is_file():
        return
    form = DeviceForm.load(out, bundle)
    if form.dtype not in DTYPES or dtype not in (None, form.dtype):
        again = f"write it again: parlando export-gpu {out} --bundle {bundle.folder} --dtype {dtype or DTYPES[0]}"
        raise BundleError(f"the GPU form in {out} is of {form.dtype}, plans are of {dtype or valid}; {again}")


def _build(one: Planned, folder: Path, name: str, trt: Any, told: Callable[[str, float], None]) -> None:
    """A graph as large as these is no message: the builder reads it from a file, which is gone afterwards."""
    timed, ends = folder / "timing.cache", one.input_shapes
    size = sum(len(constant.raw_data) for constant in one.model.graph.initializer)
    _check_disk(folder, f"{name}.plan", 2 * size)
    with tempfile.TemporaryDirectory(prefix=_GRAPH, dir=folder) as graphs:
        save({name: one.model}, Path(graphs))
        one.model.graph.ClearField("initializer")
        plan = build(
            trt,
            Path(graphs, f"{name}.onnx"),
            ends,
            one.profiles,
            cache=timed.read_bytes() if timed.is_file() else b"",
            decomposable=one.decomposable,
            progress=lambda phase, share: told(f"{name}: {phase}", share),
        )
    (folder / f"{name}.plan").write_bytes(plan.content)
    timed.write_bytes(plan.cache)


def _check_disk(folder: Path, name: str, size_bytes: int) -> None:
    """For a graph and the plan of it, which is about as large."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes:
        wanted, left = (f"{count / 1e9:.1f} GB" for count in (size_bytes, free))
        raise BundleError(f"{name} and its graph take {wanted}, {folder} has {left} free")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.tensorrt_plans", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", type=Path, help="a folder, or a voice that ships; without it natural")
    parser.add_argument("--dtype", help="of a GPU form that is written here [float16]")
    chosen = parser.parse_args()
    try:
        bundle = open_bundle(chosen.bundle)
        check(bundle, chosen.out, chosen.dtype)
        trt, device = tensorrt(), CudaDevice()
        with Progress() as bars:
            shown: dict[str, Any] = {}

            def told(phase: str, share: float) -> None:
                if phase not in shown:
                    shown[phase] = bars.add_task(phase, total=1.0)
                bars.update(shown[phase], completed=share)

            path = write(bundle, chosen.out, trt, device.facts().capability, told, chosen.dtype)
        print(path)
    except (ParlandoError, OSError) as error:  # such as a disk that is full
        print(f"parlando: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
