"""A bundle's GPU form: a folder that `python -m models.gpu_graphs` wrote, of graphs and of what they must give.

`goldens.npz` is run on the very device before a stream is served; each family says how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import BundleError, ParlandoError
from engines.runtime.device_weights import HELD

FORMAT = 2
_MANIFEST = "gpu.json"
_WITHIN = {"float32": 1e-4, "float16": 3e-2, "bfloat16": 1e-1}  # of the largest value

Array = NDArray[Any]
Goldens = dict[str, Array]


class HasDigest(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def folder(self) -> Path: ...


class DeviceForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    bundle: str  # digest of the bundle that it was made from
    dtype: str
    positions: int  # of a slot
    draft_frames: int = 0  # K that one call can verify; 0: none
    state_values: int = 0  # of the vocoder, a slot, where they are one tensor
    prefill: int = 0  # positions of a prefill's call; 0: nothing is prefilled
    inner_slab: tuple[int, ...] = ()  # of a model with codes in depth: its memory in a frame, a slot
    files: dict[str, str]  # sha256 by name
    folder: Path = Path()

    @classmethod
    def load(cls, folder: Path, bundle: HasDigest) -> DeviceForm:
        """Raises BundleError with what does not match, and the command that makes it anew."""
        again = f"; write it again: python -m models.gpu_graphs {folder} --bundle {bundle.folder}"
        try:
            found = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise BundleError(f"{folder / _MANIFEST} is no GPU form: {error}{again}") from error
        if found.format != FORMAT:
            raise BundleError(f"the GPU form has format {found.format}, this version reads {FORMAT}{again}")
        if found.bundle != bundle.digest:
            raise BundleError(f"the GPU form in {folder} is of another bundle than {bundle.name!r}{again}")
        for name, digest in found.files.items():
            if not (folder / name).is_file() or _sha256(folder / name) != digest:
                raise BundleError(f"{folder / name} has not the sha256 that {_MANIFEST} gives{again}")
        return msgspec.structs.replace(found, folder=folder)

    @property
    def weights_bytes(self) -> int:
        """That its graphs share, of a device's memory."""
        held = self.folder / HELD
        return held.stat().st_size if held.is_file() else 0

    def graph(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    @property
    def verify_steps(self) -> range:
        return range(2, self.draft_frames + 2)

    def tested(self, *tests: Callable[[Goldens], str | None]) -> str | None:
        """-> why this device must not serve, or None. Each test says what differs from the goldens."""
        try:
            with np.load(self.folder / "goldens.npz") as stored:
                goldens = dict(stored)
            return next(filter(None, (test(goldens) for test in tests)), None)
        except (ParlandoError, OSError, KeyError) as error:
            return f"the self-test failed: {error}"

    def differs(self, what: str, found: Array, wanted: Array) -> str | None:
        largest = float(np.abs(wanted).max())
        error = float(np.abs(found.astype(np.float32) - wanted).max()) / largest
        within = _WITHIN[self.dtype]
        if error <= within:  # false for NaN too
            return None
        return f"{what} differ from the goldens by {error:.2g} of the largest value, at most {within:g} is right"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
