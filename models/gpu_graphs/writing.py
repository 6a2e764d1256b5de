"""Writes a GPU form: its graphs beside one file of weights, what they must give, and the manifest, which is last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from engines.families.common.device_form import FORMAT, Goldens, HasDigest
from engines.runtime.device_weights import HELD, LISTED
from engines.runtime.tensorrt import PLANS
from models.gpu_graphs.building import TYPES
from models.sharing import save_sharing

_FLOATS = {number: name for name, number in TYPES.items()}  # what no kernel reads on the host, where it is large


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    graphs: dict[str, onnx.ModelProto]
    goldens: Goldens
    dtype: str
    positions: int
    numbers: dict[str, Any] = field(default_factory=dict)  # of the family, by name of a field of `DeviceForm`


def save(graphs: dict[str, onnx.ModelProto], folder: Path) -> None:
    listed = {
        name: {
            one.name: {"dtype": _FLOATS[one.data_type], "shape": list(one.dims), "at": at}
            for one, at in weights
            if one.data_type in _FLOATS
        }
        for name, weights in save_sharing(graphs, folder, HELD).items()
    }
    (folder / LISTED).write_text(json.dumps(listed, indent=1) + "\n")


def write(bundle: HasDigest, form: Form, out: Path) -> Path:
    """Returns the path of the manifest."""
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("*.onnx"), *out.glob("*.weights")):
        old.unlink()
    (out / "tensorrt" / PLANS).unlink(missing_ok=True)  # they are of the graphs that go
    save(form.graphs, out)
    np.savez(out / "goldens.npz", **form.goldens)  # type: ignore[arg-type]
    written = sorted((*out.glob("*.onnx"), out / HELD, out / LISTED, out / "goldens.npz"))
    manifest = {
        "format": FORMAT,
        "bundle": bundle.digest,
        "dtype": form.dtype,
        "positions": form.positions,
        **form.numbers,
        "files": {path.name: _sha256(path) for path in written},
    }
    (out / "gpu.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return out / "gpu.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
