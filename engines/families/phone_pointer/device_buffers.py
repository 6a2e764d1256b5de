"""Memory of the shipped voice's GPU form. Everything is laid out by row, so that a call over fewer rows binds views.

Rows of the LM are slots: row 0 is slot 0. Rows of the vocoder name their slot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.families.base import Frames
from engines.families.common.randomness import tables
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.base import Buffer
from engines.runtime.device_backend import DeviceBackend

if TYPE_CHECKING:
    from engines.families.common.device_form import DeviceForm


class LmBuffers:
    def __init__(
        self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int, *, in_flight: int = 1
    ) -> None:
        """As many decode steps may be in flight at once: each has small inputs and results of its own, since a replay
        reads them when it runs. Caches and last frames are the slots'."""
        self._context = bundle.adapter.features - 1
        shape = (slots, bundle.lm.kv_heads, form.positions, bundle.lm.head_dim)
        names = [f"{kind}{layer}" for layer in range(bundle.lm.layers) for kind in "kv"]
        self.slabs: dict[str, Buffer] = {name: backend.buffer(shape, form.dtype) for name in names}
        _, gumbel = tables()
        self.silent_at = len(gumbel)  # greedy rows read zeros there
        self._table = np.concatenate([gumbel, np.zeros(bundle.codes.count, np.float32)])
        self._noise = backend.buffer(self._table.shape, "float32")
        self._begin, self.first = bundle.codes.begin, backend.buffer((1,), "int64")
        last = backend.buffer((slots,), "int64", shared=True)
        self.sets = [{"last": last} | self._small(backend, slots) for _ in range(in_flight)]
        self.values = self.sets[0]
        self.ahead = {steps: self._ahead(backend, slots, steps) for steps in form.verify_steps}

    def _small(self, backend: DeviceBackend, slots: int) -> dict[str, Buffer]:
        return {
            name: backend.buffer((slots, *rest), dtype, shared=True)
            for name, rest, dtype in (
                ("context", (self._context,), "int64"),
                ("is_active", (), "bool"),
                ("lengths", (), "int32"),
                ("temperature", (), "float32"),
                ("noise_at", (), "int64"),
                ("frames", (), "int64"),
                ("scores", (), "float32"),
            )
        }

    def _ahead(self, backend: DeviceBackend, slots: int, steps: int) -> dict[str, Buffer]:
        """What a verification of so many steps has of its own."""
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "context": ((slots, steps, self._context), "int64"),
            "drafted": ((slots, steps - 1), "int64"),
            "noise_at": ((slots, steps), "int64"),
            "frames": ((slots, steps), "int64"),
            "scores": ((slots, steps), "float32"),
        }
        return {name: backend.buffer(shape, dtype, shared=True) for name, (shape, dtype) in shapes.items()}

    def fill_tables(self) -> None:
        self._noise.write(self._table)
        self.first.write(np.array([self._begin]))

    def decode(self, rows: int, which: int = 0) -> dict[str, Buffer]:
        """By name of the graph's inputs and outputs."""
        bound = {name: buffer.rows(0, rows) for name, buffer in self.sets[which].items()}
        return bound | {"last_out": bound["last"], "noise_table": self._noise} | self._caches(rows)

    def verify(self, rows: int, steps: int) -> dict[str, Buffer]:
        bound = {name: self.values[name].rows(0, rows) for name in ("last", "lengths", "temperature")}
        bound |= {name: buffer.rows(0, rows) for name, buffer in self.ahead[steps].items()}
        return bound | {"noise_table": self._noise} | self._caches(rows)

    def _caches(self, rows: int) -> dict[str, Buffer]:
        views = {name: slab.rows(0, rows) for name, slab in self.slabs.items()}
        return {f"{end}_{name}": view for name, view in views.items() for end in ("past", "present")}


class VocoderBuffers:
    def __init__(
        self,
        bundle: Bundle,
        form: DeviceForm,
        backend: DeviceBackend,
        *,
        slots: int,
        rows: int,
        sizes: tuple[int, ...],
    ) -> None:
        """`rows` at most in a job, of each of these `sizes` in codes. Rows that fill up a bucket have slots of their
        own, behind the others: two rows of a job must not write to one slot."""
        self.spare_slot, self._frames = slots, bundle.frames_per_code
        self._hop, self._window = bundle.hop_length, bundle.window_samples
        self._hops = -(-self._window // self._hop)  # that a window reaches over
        self._state = backend.buffer((slots + rows, form.state_values), "float32")
        self._phase = backend.buffer((slots + rows,), "int64")
        self._table, _ = tables()
        self._noise = backend.buffer(self._table.shape, "float32")
        self.values = {
            name: backend.buffer((rows, *rest), dtype, shared=True)
            for name, rest, dtype in (
                ("voices", (len(bundle.voices),), "float32"),
                ("pitch", (), "float32"),
                ("slots", (), "int64"),
                ("begins", (), "bool"),
                ("noise_at", (), "int64"),
                ("scores", (), "float32"),
            )
        }
        most, bins = max(sizes) * self._frames, self._window // 2 + 1
        self._window_at = backend.buffer((most, self._window), "int64")
        self._hop_at = {
            size: backend.buffer((self._hops, size * self._frames + self._hops - 1), "int64") for size in sizes
        }
        self._vocoder = bundle.vocoder
        self._made = {  # by name of the graph's inputs
            size: {
                name: backend.buffer(values.shape, "int64", shared=True)
                for name, values in bundle.vocoder.feeds(np.zeros((rows, size, bundle.frame_width), np.int64)).items()
            }
            for size in sizes
        }
        self.samples = {
            size: backend.buffer((rows, size * self._frames + self._hops - 1, self._hop), "float32", shared=True)
            for size in sizes
        }
        self.spectra = {size: backend.buffer((rows, size * self._frames, 2, bins), "float32") for size in sizes}

    def fill_tables(self, *, silent: bool = False) -> None:
        self._noise.write(np.zeros_like(self._table) if silent else self._table)
        frames = np.arange(self._window_at.shape[0])
        self._window_at.write(frames[:, None] * self._hop + np.arange(self._window))
        for size, buffer in self._hop_at.items():
            buffer.write(_hop_at(size * self._frames, self._hops))

    def write_frames(self, frames: Frames) -> None:
        """frames [B, N, W] of a job of that size."""
        for name, values in self._vocoder.feeds(frames).items():
            self._made[frames.shape[1]][name].write(values)

    def job(self, rows: int, size: int) -> dict[str, Buffer]:
        """By name of the graph's inputs and outputs."""
        by_row = self.values | self._made[size]
        made = {"samples": self.samples[size], "spectrum": self.spectra[size]}
        return {
            **{name: buffer.rows(0, rows) for name, buffer in (by_row | made).items()},
            "state": self._state,
            "state_out": self._state,
            "phase": self._phase,
            "phase_out_slots": self._phase,
            "noise_table": self._noise,
            "window_at": self._window_at.rows(0, size * self._frames),
            "hop_at": self._hop_at[size],
        }


def _hop_at(frames: int, parts: int) -> NDArray[Any]:
    """[parts, frames + parts - 1]: which parts of windows meet in each hop, among the frames known before, these, and
    zeros; the oldest first."""
    hops, part = np.arange(frames + parts - 1), np.arange(parts - 1, -1, -1)[:, None]
    return (hops - part + parts - 1) * parts + part
