"""The shipped voice's GPU form: a folder that `python -m models.gpu_graphs` wrote, and its self-test.

The self-test runs the goldens on the very device before a stream is served. It compares what depends on every layer
and position: the last layer's cache, two rows of different lengths, and the vocoder's samples.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import BundleError, ParlandoError
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import LmBuffers, VocoderBuffers
from engines.runtime.device_backend import DeviceBackend

FORMAT = 1
_MANIFEST = "gpu.json"
_WITHIN = {"float32": 1e-4, "float16": 3e-2}  # of the largest value

Array = NDArray[Any]


class DeviceForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    bundle: str  # digest of the bundle that it was made from
    dtype: str
    positions: int
    draft_frames: int  # K that one call can verify; 0: none
    state_values: int  # of the vocoder, a slot
    files: dict[str, str]  # sha256 by name
    folder: Path = Path()

    @classmethod
    def load(cls, folder: Path, bundle: Bundle) -> DeviceForm:
        """Raises BundleError with what does not match, and the command that makes it anew."""
        again = f"; write it again: python -m models.gpu_graphs {folder}"
        try:
            found = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise BundleError(f"{folder / _MANIFEST} is no GPU form: {error}{again}") from error
        if found.format != FORMAT:
            raise BundleError(f"the GPU form has format {found.format}, this version reads {FORMAT}{again}")
        if found.bundle != bundle.digest:
            raise BundleError(f"the GPU form in {folder} is of another bundle than {bundle.name!r}{again}")
        for name, digest in found.files.items():
            path = folder / name
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                raise BundleError(f"{path} has not the sha256 that {_MANIFEST} gives{again}")
        return msgspec.structs.replace(found, folder=folder)

    def graph(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    @property
    def verify_steps(self) -> range:
        return range(2, self.draft_frames + 2)


def self_test(form: DeviceForm, bundle: Bundle, backend: DeviceBackend) -> str | None:
    """-> why this device must not serve, or None."""
    try:
        with np.load(form.folder / "goldens.npz") as stored:
            goldens = dict(stored)
        return _test_lm(form, bundle, backend, goldens) or _test_vocoder(form, bundle, backend, goldens)
    except (ParlandoError, OSError, KeyError) as error:
        return f"the self-test failed: {error}"


def _test_lm(form: DeviceForm, bundle: Bundle, backend: DeviceBackend, goldens: dict[str, Array]) -> str | None:
    steps, rows = goldens["lm_last"].shape
    (graph,) = backend.graphs(form.graph("decode"))
    buffers = LmBuffers(bundle, form, backend, rows)
    call = graph.bind(buffers.decode(rows))
    backend.prepare(call)
    buffers.fill_tables()
    buffers.values["temperature"].write(np.ones(rows, np.float32))
    buffers.values["noise_at"].write(np.full(rows, buffers.silent_at))
    buffers.values["is_active"].write(np.ones(rows, np.bool_))
    for step in range(steps):
        buffers.values["context"].write(goldens["lm_context"][step])
        buffers.values["last"].write(goldens["lm_last"][step])
        buffers.values["lengths"].write(np.array([step, max(step - 1, 0)], np.int32))
        call.launch()
        call.wait()
    deepest = bundle.lm.layers - 1
    for name, slab in (("keys", f"k{deepest}"), ("values", f"v{deepest}")):
        found = buffers.slabs[slab].read()[:, 0, : steps - 1]
        if problem := _differs(f"the LM's {name}", found, goldens[f"lm_{name}"], form.dtype):
            return problem
    return None


def _test_vocoder(form: DeviceForm, bundle: Bundle, backend: DeviceBackend, goldens: dict[str, Array]) -> str | None:
    rows, codes = goldens["vocoder_codes"].shape
    (graph,) = backend.graphs(form.graph("vocoder"))
    buffers = VocoderBuffers(bundle, form, backend, slots=rows, rows=rows, sizes=(codes,))
    call = graph.bind(buffers.job(rows, codes))
    backend.prepare(call)
    buffers.fill_tables(silent=True)
    buffers.codes[codes].write(goldens["vocoder_codes"])
    buffers.values["voices"].write(np.eye(rows, len(bundle.voices), dtype=np.float32))
    buffers.values["pitch"].write(np.ones(rows, np.float32))
    buffers.values["slots"].write(np.arange(rows))
    buffers.values["begins"].write(np.ones(rows, np.bool_))
    buffers.values["noise_at"].write(np.zeros(rows, np.int64))
    call.launch()
    call.wait()
    found = buffers.samples[codes].read(0, rows)
    return _differs("the vocoder's samples", found, goldens["vocoder_samples"], form.dtype)


def _differs(what: str, found: Array, wanted: Array, dtype: str) -> str | None:
    largest = float(np.abs(wanted).max())
    error = float(np.abs(found.astype(np.float32) - wanted).max()) / largest
    if error <= _WITHIN[dtype]:  # false for NaN too
        return None
    return f"{what} differ from the goldens by {error:.2g} of the largest value, at most {_WITHIN[dtype]:g} is right"
