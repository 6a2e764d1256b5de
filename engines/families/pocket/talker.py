"""The speech model behind the Talker Protocol: text into the cache, then one frame of 32 values a step.

The last frame of each slot and the positions that it holds are kept here by slot. Idle rows between wanted ones are
computed too, and write where their own next step or text writes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.families.base import BoolArray, Frames, Pending, Rows, Sampling, Steps
from engines.families.common.done import Done
from engines.families.common.randomness import normals
from engines.families.common.slot_calls import KvSlabs, SlotCalls, groups
from engines.families.pocket.bundle import Bundle
from engines.families.pocket.voices import VoicePrefix, VoiceRows
from engines.runtime.base import Backend, Buffer, Call, IntArray

_BLOCK = 8  # positions: from here on a prompt has the same bits however it is cut


class PocketTalker:
    draft_frames = 0  # values of a continuous frame never coincide

    def __init__(self, bundle: Bundle, backend: Backend, slots: int) -> None:
        self._bundle, self.device = bundle, backend.device
        lm, width = bundle.lm, bundle.frame_width
        paths = [bundle.folder / f"{name}.onnx" for name in ("step", "prefill")]
        step, self._prefill = backend.graphs(*paths, trial=_trial(bundle))
        self.kernels = step.kernels
        geometry = {"layers": lm.layers, "kv_heads": lm.kv_heads, "positions": lm.positions, "head_dim": lm.head_dim}
        self._voices = VoiceRows(bundle, slots, self._keep_voice)
        self._slabs = KvSlabs(backend, step, slots=slots + self._voices.count, **geometry)
        self._voices.fill()
        self._held = np.zeros(slots, np.int64)
        self._first = np.array(bundle.lm.first_frame, np.float32)
        self._last = np.repeat(self._first[None], slots, 0)
        self._latent, self._noise = (backend.buffer((slots, width), "float32") for _ in range(2))
        self._frames, self._end = backend.buffer((slots, width), "float32"), backend.buffer((slots, 1), "float32")
        self._at, self._total = backend.buffer((slots,), "int32"), backend.buffer((1,), "int32")
        by_slot = {"latent": self._latent, "noise": self._noise, "frames": self._frames, "end": self._end}
        by_slot |= {"seqlens_k": self._at, **self._slabs.named()}
        self._steps = SlotCalls(step, by_slot, {"total_len": self._total}, backend.lanes)
        self._ids = {count: backend.buffer((1, count), "int64") for count in _block_sizes(lm.positions)}
        self._prompts: dict[tuple[int, int], Call] = {}

    def _keep_voice(self, voice: VoicePrefix, target: int) -> None:
        lm = self._bundle.lm
        for kind, layers in (("k", voice.keys), ("v", voice.values)):
            for layer, held in enumerate(layers):
                row = np.zeros((1, lm.kv_heads, lm.positions, lm.head_dim), np.float32)
                row[0, :, : voice.positions] = held
                self._slabs.slabs[f"{kind}{layer}"].write(row, target)

    def warm_up(self) -> None:
        one = np.zeros(1, np.int64)
        self.prefill(one, np.zeros((1, 1), np.int64), np.array([0, 1]), one).wait()
        sampling, keys = [Sampling()], np.zeros((1, 2), np.int64)
        self.step(one, np.zeros((1, 1, 0), np.int64), one + 1, one, sampling, keys, None).wait()

    def begin(self, slot: int, prefix: VoicePrefix | None) -> int:
        self._last[slot] = self._first
        self._held[slot] = 0 if prefix is None else prefix.positions
        if prefix is not None:
            self._slabs.copy(self._voices.row_of(prefix), slot, prefix.positions)
        return int(self._held[slot])

    def release(self, slot: int) -> None:
        self.begin(slot, None)

    def swap_out(self, slot: int) -> object:
        held = int(self._held[slot])
        kept = held, self._last[slot].copy(), self._slabs.taken(slot, held)
        self.release(slot)
        return kept

    def swap_in(self, slot: int, kept: Any) -> None:
        self._held[slot], self._last[slot], caches = kept
        self._slabs.put(slot, caches)

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return groups(slots, others, call_rows)

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        """One call a slot: rows differ in length. What a padded block writes behind its end is written again."""
        for row, slot in enumerate(slots.tolist()):
            ids = rows[offsets[row] : offsets[row + 1], 0]
            count = -(-len(ids) // _BLOCK) * _BLOCK
            self._ids[count].write(np.concatenate([ids, np.zeros(count - len(ids), np.int64)])[None])
            last = int(lengths[row]) + count - 1
            self._at.write(np.array([last], np.int32), slot)
            self._total.write(np.array([last + 1], np.int32))
            call = self._prompt(slot, count)
            call.launch()
            call.wait()
            self._held[slot] = lengths[row] + len(ids)
        return Done(np.ones(len(slots), np.bool_))  # the first step tells

    def _prompt(self, slot: int, count: int) -> Call:
        call = self._prompts.get((slot, count))
        if call is None:
            buffers: dict[str, Buffer] = {"ids": self._ids[count], "total_len": self._total}
            by_slot = {"seqlens_k": self._at, **self._slabs.named()}
            buffers |= {name: buffer.rows(slot, slot + 1) for name, buffer in by_slot.items()}
            call = self._prompts[slot, count] = self._prefill.bind(buffers)
        return call

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
        first, last, width = int(slots.min()), int(slots.max()) + 1, self._bundle.frame_width
        self._held[slots] = lengths
        noise = np.zeros((last - first, width), np.float32)
        for at, how, (seed, made) in zip((slots - first).tolist(), sampling, keys.tolist(), strict=True):
            noise[at] = np.float32(np.sqrt(how.temperature)) * normals(seed, made, width)
        self._noise.write(noise, first)
        self._latent.write(self._last[first:last], first)
        self._at.write(self._held[first:last].astype(np.int32), first)
        self._total.write(np.array([self._held[first:last].max() + 1], np.int32))
        self._steps.run(first, last)
        frames, end = self._frames.read(first, last)[slots - first], self._end.read(first, last)[slots - first]
        self._last[slots] = frames
        self._held[slots] = lengths + 1
        is_finite = np.isfinite(frames).all(axis=1, keepdims=True) & np.isfinite(end)
        return Done(Steps(frames[:, None], end, is_finite))

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        raise AssertionError("nothing is verified without drafts")


def _block_sizes(positions: int) -> range:
    return range(_BLOCK, positions + 1, _BLOCK)


def _trial(bundle: Bundle) -> dict[str, np.ndarray]:
    """Feeds of one step of one row."""
    lm, width = bundle.lm, bundle.frame_width
    slab = np.zeros((1, lm.kv_heads, lm.positions, lm.head_dim), np.float32)
    feeds = {f"past_{kind}{layer}": slab for layer in range(lm.layers) for kind in "kv"}
    row = np.zeros((1, width), np.float32)
    return feeds | {"latent": row, "noise": row, "seqlens_k": np.zeros(1), "total_len": np.ones(1)}
