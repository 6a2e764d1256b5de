"""The speech model of pocket-tts on a device, behind the Talker Protocol. Frames are sampled inside the graph.

Rows are slots, and a call covers the slots from 0 to the last one wanted, in the next bucket. Behind the slots lie rows
of the voices, copied where a chunk begins. An idle row writes its cache where its own next step or text writes again,
and keeps its last frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.errors import EngineFault
from engines.families.base import BoolArray, Frames, Pending, Rows, Sampling, Steps
from engines.families.common.device_calls import InFlight, buckets, one_call, prepare, spread
from engines.families.common.device_form import DeviceForm
from engines.families.common.done import Done
from engines.families.common.randomness import normals
from engines.families.common.slot_calls import put, taken
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.voices import VoicePrefix, VoiceRows
from engines.runtime.base import Buffer, IntArray
from engines.runtime.device_backend import DeviceBackend


class DeviceTalker:
    draft_frames = 0  # values of a continuous frame never coincide

    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        step, prefill = backend.graphs(form.graph("step"), form.graph("prefill"))
        self.kernels, self.device, self._backend = step.kernels, backend.device, backend
        self.arithmetic = backend.arithmetic(self.kernels)
        self._bundle, self._positions, self._block = bundle, form.positions, form.prefill
        self._voices = VoiceRows(bundle, slots, self._keep_voice)
        lm, width, rows = bundle.lm, bundle.frame_width, slots + self._voices.count
        shape = (rows, lm.kv_heads, form.positions, lm.head_dim)
        names = [f"{kind}{layer}" for layer in range(lm.layers) for kind in "kv"]
        self._slabs: dict[str, Buffer] = {name: backend.buffer(shape, form.dtype) for name in names}
        self._values = {
            name: backend.buffer((slots, *rest), dtype, shared=True)
            for name, rest, dtype in (
                ("noise", (width,), "float32"),
                ("lengths", (), "int32"),
                ("is_active", (), "bool"),
                ("frames", (width,), "float32"),
                ("end", (1,), "float32"),
            )
        }
        self._latent = backend.buffer((slots, width), "float32")
        self._prompt = {
            "ids": backend.buffer((1, form.prefill), "int64", shared=True),
            "lengths": backend.buffer((1,), "int32", shared=True),
        }
        self._buckets, self.cost = buckets(slots, one=backend.deterministic), 1.0
        self._smallest = step.bind(self._bound(1)) if backend.deterministic else None
        self._steps = {count: step.bind(self._bound(count)) for count in self._buckets}
        self._prefills = [prefill.bind(self._prompt | self._caches(slot, slot + 1)) for slot in range(slots)]
        self._held = np.zeros(rows, np.int64)
        self._first = np.array(lm.first_frame, np.float32)

    def _bound(self, count: int) -> dict[str, Buffer]:
        by_row = {**self._values, "latent": self._latent, "latent_out": self._latent}
        return {name: buffer.rows(0, count) for name, buffer in by_row.items()} | self._caches(0, count)

    def _caches(self, first: int, last: int) -> dict[str, Buffer]:
        views = {name: slab.rows(first, last) for name, slab in self._slabs.items()}
        return {f"{end}_{name}": view for name, view in views.items() for end in ("past", "present")}

    def warm_up(self) -> None:
        self.cost = prepare(self._backend, self._steps.values(), self._smallest, self._prefills)
        self._voices.fill()
        self._latent.write(np.repeat(self._first[None], self._latent.shape[0], 0))

    def _keep_voice(self, voice: VoicePrefix, target: int) -> None:
        lm = self._bundle.lm
        for kind, layers in (("k", voice.keys), ("v", voice.values)):
            for layer, held in enumerate(layers):
                row = np.zeros((1, lm.kv_heads, self._positions, lm.head_dim), np.float32)
                row[0, :, : voice.positions] = held
                self._slabs[f"{kind}{layer}"].write(row, target)

    def begin(self, slot: int, prefix: VoicePrefix | None) -> int:
        self._latent.write(self._first[None], slot)
        self._held[slot] = 0 if prefix is None else prefix.positions
        if prefix is not None:
            kept = self._voices.row_of(prefix)
            for slab in self._slabs.values():
                slab.copy_row(kept, slot, prefix.positions)
        return int(self._held[slot])

    def release(self, slot: int) -> None:
        self.begin(slot, None)

    def swap_out(self, slot: int) -> object:
        held = int(self._held[slot])
        kept = held, np.array(self._latent.read(slot, slot + 1)), taken(self._slabs.values(), slot, held)
        self.release(slot)
        return kept

    def swap_in(self, slot: int, kept: Any) -> None:
        self._held[slot], latent, caches = kept
        self._latent.write(latent, slot)
        put(self._slabs.values(), slot, caches)

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return one_call([*slots], [*others])

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        """In blocks, the last one filled up: what lies behind the length is written again before it is read."""
        for row, slot in enumerate(slots.tolist()):
            ids, held = rows[offsets[row] : offsets[row + 1], 0], int(lengths[row])
            for start in range(0, len(ids), self._block):
                some = ids[start : start + self._block]
                newest = held + self._block - 1
                if newest >= self._positions:
                    raise EngineFault(f"a prompt would reach position {newest}, a slot holds {self._positions}")
                self._prompt["ids"].write(np.concatenate([some, np.zeros(self._block - len(some), np.int64)])[None])
                self._prompt["lengths"].write(np.array([held], np.int32))
                call = self._prefills[slot]
                call.launch()
                call.wait()
                held += len(some)
            self._held[slot] = held
        return Done(np.ones(len(slots), np.bool_))  # the first step tells

    def step(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        assert drafted is None, "this model has no drafts"
        if (beyond := int(lengths.max()) + 1) > self._positions:  # a device would write at the end instead
            raise EngineFault(f"a step would reach position {beyond}, a slot holds {self._positions}")
        covered = next(count for count in self._buckets if count > int(slots.max()))
        width, values = self._bundle.frame_width, self._values
        self._held[slots] = lengths
        noise = np.stack([
            np.float32(np.sqrt(how.temperature)) * normals(seed, made, width)
            for how, (seed, made) in zip(sampling, keys.tolist(), strict=True)
        ])  # fmt: skip
        values["noise"].write(spread(covered, slots, noise))
        values["lengths"].write(self._held[:covered].astype(np.int32))
        values["is_active"].write(spread(covered, slots, np.ones(len(slots), np.bool_)))
        self._held[slots] = lengths + 1
        call = self._steps[covered]
        call.launch()

        def read() -> Steps:
            frames, ends = np.array(values["frames"].read()[slots]), np.array(values["end"].read()[slots])
            is_finite = np.isfinite(frames).all(axis=1, keepdims=True) & np.isfinite(ends)
            return Steps(frames[:, None], ends, is_finite)

        return InFlight(call, read)

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        raise AssertionError("nothing is verified without drafts")
