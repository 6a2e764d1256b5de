"""Memory of Qwen3-TTS's GPU form. Everything is laid out by row, so that a call over fewer rows binds views."""

from __future__ import annotations

import numpy as np

from engines.families.common.device_form import DeviceForm
from engines.families.common.randomness import tables
from engines.families.common.slot_calls import put, taken
from engines.families.qwen3_tts.bundle import Bundle
from engines.runtime.base import Array, Buffer
from engines.runtime.device_backend import DeviceBackend


class TalkerBuffers:
    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int, rows: int) -> None:
        """`rows`: of the slabs; those of voice prefixes lie behind the slots."""
        part = bundle.qwen3_tts.talker
        self._codebooks = part.codebooks
        shape = (rows, part.kv_heads, form.positions, part.head_dim)
        names = [f"{kind}{layer}" for layer in range(part.layers) for kind in "kv"]
        self.slabs: dict[str, Buffer] = {name: backend.buffer(shape, form.dtype) for name in names}
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "text": ((), "int64"),
            "codes": ((part.codebooks,), "int64"),
            "follows": ((), "bool"),
            "is_active": ((), "bool"),
            "lengths": ((), "int32"),
            "noise_at": ((), "int64"),
            "temperature": ((part.codebooks,), "float32"),
            "top_k": ((part.codebooks,), "int64"),
            "damping": ((2,), "float32"),
            "may_end": ((), "int64"),
            "top_p": ((), "float32"),
            "sharpness": ((), "float32"),
            "frames": ((part.codebooks,), "int64"),
            "scores": ((), "float32"),
        }
        self.values = {
            name: backend.buffer((slots, *rest), dtype, shared=True) for name, (rest, dtype) in shapes.items()
        }
        self._last = backend.buffer((slots, part.codebooks), "int64")
        self._generated = backend.buffer((slots, part.vocabulary), "bool")
        inner = (slots, *form.inner_slab)
        self._inner = backend.buffer(inner, form.dtype)
        self._inner_at = [backend.buffer((slots,), "int32") for _ in range(part.codebooks)]
        _, self._table = tables()
        self._noise = backend.buffer(self._table.shape, "float32")
        block = form.prefill
        self.prompt = {
            name: backend.buffer(shape, dtype, shared=True)
            for name, shape, dtype in (
                ("text", (1, block), "int64"),
                ("codes", (1, block, part.codebooks), "int64"),
                ("speaker", (1, block, part.width), "float32"),
                ("lengths", (1,), "int32"),
                ("checksum", (1, 1), "float32"),
            )
        }

    def fill_tables(self) -> None:
        self._noise.write(self._table)
        for place, buffer in enumerate(self._inner_at):
            buffer.write(np.full(buffer.shape, place, np.int32))

    def frame(self, count: int) -> dict[str, Buffer]:
        """By name of the graph's inputs and outputs."""
        by_row = {**self.values, "last": self._last, "last_out": self._last, "inner_slabs": self._inner}
        by_row |= {"generated": self._generated, "generated_out": self._generated}
        by_row |= {f"inner_at{place}": buffer for place, buffer in enumerate(self._inner_at)}
        bound = {name: buffer.rows(0, count) for name, buffer in by_row.items()}
        return bound | {"noise_table": self._noise} | self._caches(0, count)

    def prefill(self, row: int) -> dict[str, Buffer]:
        return {**self.prompt, **self._caches(row, row + 1)}

    def _caches(self, first: int, last: int) -> dict[str, Buffer]:
        views = {name: slab.rows(first, last) for name, slab in self.slabs.items()}
        return {f"{end}_{name}": view for name, view in views.items() for end in ("past", "present")}

    def copy(self, source: int, target: int, positions: int) -> None:
        for slab in self.slabs.values():
            slab.copy_row(source, target, positions)

    def taken(self, slot: int, positions: int) -> tuple[list[Array], list[Array]]:
        """Host copies of what a slot holds: its caches, and what it has generated."""
        states = [np.array(state.read(slot, slot + 1)) for state in (self._last, self._generated)]
        return taken(self.slabs.values(), slot, positions), states

    def put(self, slot: int, kept: tuple[list[Array], list[Array]]) -> None:
        caches, states = kept
        put(self.slabs.values(), slot, caches)
        for state, values in zip((self._last, self._generated), states, strict=True):
            state.write(values, slot)

    def forget(self, slot: int) -> None:
        """What the slot has generated."""
        for state in (self._last, self._generated):
            state.rows(slot, slot + 1).clear()
