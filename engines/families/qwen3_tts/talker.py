"""The talker on a backend: slots in rows of one cache, frames sampled inside the graph.

Rows that run lie side by side: a slot that is released gives its row to the last one, so that a call has few idle rows.
Behind the rows of the slots lie those of voice prefixes, computed once and copied into each slot that begins with one:

    rows  [0, in use)  [in use, slots)  [slots, slots + PREFIXES)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from engines.families.base import BoolArray, Frames, Pending, Prefix, Sampling, Steps
from engines.families.common.done import Done
from engines.families.common.slot_calls import KvSlabs, SlotCalls, groups
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.draws import numbers
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.script import DepthSampling
from engines.runtime.base import Backend, FloatArray, IntArray

PREFIXES = 4  # voices whose prefix is kept; the one used longest ago goes first
BLOCKS = (64, 32, 16, 8)  # positions of a prefill's call; the runtime has the same bits in each


class Qwen3TtsTalker:
    draft_frames = 0

    def __init__(self, bundle: Bundle, backend: Backend, slots: int) -> None:
        self._part = part = bundle.qwen3_tts.talker
        self._end = bundle.qwen3_tts.codec.end
        self._step, self._prefill = backend.graphs(bundle.folder / part.step, bundle.folder / part.prefill)
        self.kernels, self.device = self._step.kernels, backend.device
        rows, positions = slots + PREFIXES, part.positions + part.spare_positions
        self._slabs = KvSlabs(
            backend,
            self._step,
            slots=rows,
            layers=part.layers,
            kv_heads=part.kv_heads,
            positions=positions,
            head_dim=part.head_dim,
        )
        self._inputs = {name: backend.buffer((rows, *shape), dtype) for name, (shape, dtype) in self._feeds().items()}
        self._longest = backend.buffer((1,), "int32")
        self._outputs = {
            "frames": backend.buffer((rows, part.codebooks), "int64"),
            "end_scores": backend.buffer((rows,), "float32"),
            "is_finite": backend.buffer((rows,), "bool"),
            "logits": backend.buffer((rows, part.vocabulary), "float32"),
        }
        slabs = self._slabs.named()
        self._calls = SlotCalls(self._step, {**self._inputs, **self._outputs, **slabs}, {"total_len": self._longest})
        self._backend, self._blocks = backend, dict[int, tuple[dict[str, object], SlotCalls]]()
        self._slot_rows, self._row_slots = dict[int, int](), list[int]()
        self._lengths = np.zeros(rows, np.int64)
        self._last = np.zeros((rows, part.codebooks), np.int64)  # frame of each row
        self._generated = np.zeros((rows, part.vocabulary), np.bool_)
        self._made = np.zeros(rows, np.int64)  # frames of the segment
        self._speakers = np.zeros((rows, part.width), np.float32)
        self._prefixes = OrderedDict[str, tuple[int, int]]()  # key -> row, positions
        self._starts = part.starts

    def _feeds(self) -> dict[str, tuple[tuple[int, ...], str]]:
        one: tuple[int, ...] = (1,)
        sampling = {"temperature": (one, "float32"), "top_k": (one, "int64"), "top_p": (one, "float32")}
        return {
            "text": (one, "int64"),
            "codes": ((1, self._part.codebooks), "int64"),
            "seqlens_k": ((), "int32"),
            "generated": ((self._part.vocabulary,), "bool"),
            "penalty": (one, "float32"),
            "may_end": (one, "bool"),
            "numbers": ((self._part.codebooks,), "float32"),
            **sampling,
            **{f"inner_{name}": feed for name, feed in sampling.items()},
        }

    # -- slots -----------------------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        prefix = VoicePrefix(key=None, rows=np.zeros((8, 1 + self._part.codebooks), np.int64))
        length = self.begin(0, prefix)
        sampling = DepthSampling(inner_temperature=0, inner_top_k=1, inner_top_p=1)
        zero, rows = np.zeros(1, np.int64), np.zeros((1, 1, 1 + self._part.codebooks), np.int64)
        self.step(zero, rows, zero + 1, zero + length, [sampling], np.zeros((1, 2), np.int64), None)
        self.release(0)

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        voice = cast(VoicePrefix, prefix)
        row = self._row(slot)
        self._lengths[row] = self._made[row] = 0
        self._last[row], self._generated[row] = 0, False
        self._speakers[row] = 0 if voice.speaker is None else voice.speaker
        if len(voice.rows):
            self._lengths[row] = self._from_prefix(row, voice)
        return int(self._lengths[row])

    def _row(self, slot: int) -> int:
        """A slot that has none yet, as in a measurement, gets the first one behind those in use."""
        row = self._slot_rows.get(slot)
        if row is None:
            row = self._slot_rows[slot] = len(self._row_slots)
            self._row_slots.append(slot)
            self._lengths[row] = self._made[row] = self._last[row] = self._speakers[row] = 0
            self._generated[row] = False
        return row

    def _from_prefix(self, row: int, voice: VoicePrefix) -> int:
        """Positions, copied from the kept row of this voice or computed."""
        if voice.key is None:
            self._prefill_row(row, voice.rows)
            return len(voice.rows)
        kept = self._prefixes.get(voice.key)
        if kept is None:
            self._prefill_row(row, voice.rows)
            free = set(range(len(self._lengths) - PREFIXES, len(self._lengths))) - {
                at for at, _ in self._prefixes.values()
            }
            place = free.pop() if free else self._prefixes.popitem(last=False)[1][0]
            kept = self._prefixes[voice.key] = place, len(voice.rows)
            self._slabs.copy(row, place, kept[1])
        else:
            self._slabs.copy(kept[0], row, kept[1])
        self._prefixes.move_to_end(voice.key)
        return kept[1]

    def release(self, slot: int) -> None:
        row = self._slot_rows.pop(slot, None)
        if row is None:
            return
        last = len(self._row_slots) - 1
        if row != last:
            self._slabs.copy(last, row, int(self._lengths[last]))
            for state in self._by_row():
                state[row] = state[last]
            moved = self._row_slots[row] = self._row_slots[last]
            self._slot_rows[moved] = row
        self._row_slots.pop()

    def _by_row(self) -> tuple[NDArray[Any], ...]:
        return self._lengths, self._last, self._generated, self._made, self._speakers

    def swap_out(self, slot: int) -> object:
        row = self._row(slot)
        kept = self._slabs.taken(row, int(self._lengths[row])), [state[row].copy() for state in self._by_row()]
        self.release(slot)
        return kept

    def swap_in(self, slot: int, kept: Any) -> None:
        row, (caches, states) = self._row(slot), kept
        self._slabs.put(row, caches)
        for state, value in zip(self._by_row(), states, strict=True):
            state[row] = value

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int = 1) -> list[list[int]]:
        for slot in slots:
            self._row(slot)
        others = [slot for slot in others if slot in self._slot_rows]
        return groups(slots, others, call_rows, self._slot_rows.__getitem__)

    # -- prefill ---------------------------------------------------------------------------------------------------

    def prefill(self, slots: IntArray, rows: IntArray, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        is_finite = np.ones(len(slots), np.bool_)
        for number, slot in enumerate(slots.tolist()):
            row = self._row(slot)
            self._lengths[row] = lengths[number]
            is_finite[number] = self._prefill_row(row, rows[offsets[number] : offsets[number + 1]])
        return Done(is_finite)

    def _prefill_row(self, row: int, rows: IntArray) -> bool:
        """In blocks, the last one filled up: what lies behind the length is written again before it is read."""
        is_finite = True
        while len(rows):
            size = next((size for size in BLOCKS if size <= len(rows)), BLOCKS[-1])
            count, begun = min(size, len(rows)), int(self._lengths[row])
            block = np.zeros((size, rows.shape[1]), np.int64)
            block[:count] = rows[:count]
            speaker = np.where((block[:, 1] == self._part.speaker)[:, None], self._speakers[row], np.float32(0))
            codes = self._codes(block[:, 1:], self._last[row])
            checksum = self._run_block(row, size, begun, block[:, 0], codes, speaker)
            is_finite = is_finite and bool(np.isfinite(checksum))
            self._lengths[row] += count
            rows = rows[count:]
        return is_finite

    def _codes(self, codes: IntArray, last: IntArray) -> IntArray:
        """Rows of the frame table: marks replaced. codes [N, Q], last [Q] or [N, Q]"""
        follows, speaks = codes[:, :1] == self._part.follow, codes[:, :1] == self._part.speaker
        codes = np.where(follows, last + self._starts, codes)
        return np.where(speaks, self._part.nothing, codes)

    def _run_block(
        self, row: int, size: int, begun: int, text: IntArray, codes: IntArray, speaker: FloatArray
    ) -> float:
        if size not in self._blocks:
            backend = self._backend
            shared = {
                "text": backend.buffer((1, size), "int64"),
                "codes": backend.buffer((1, size, self._part.codebooks), "int64"),
                "speaker": backend.buffer((1, size, self._part.width), "float32"),
                "seqlens_k": backend.buffer((1,), "int32"),
                "total_len": backend.buffer((1,), "int32"),
                "checksum": backend.buffer((1, 1), "float32"),
            }
            self._blocks[size] = cast(dict[str, object], shared), SlotCalls(self._prefill, self._slabs.named(), shared)
        buffers, calls = self._blocks[size]
        total = begun + size
        for name, values in (
            ("text", text[None]),
            ("codes", codes[None]),
            ("speaker", speaker[None].astype(np.float32)),
            ("seqlens_k", np.array([total - 1], np.int32)),
            ("total_len", np.array([total], np.int32)),
        ):
            buffers[name].write(values)  # type: ignore[attr-defined]
        calls.run(row, row + 1)
        return float(buffers["checksum"].read()[0, 0])  # type: ignore[attr-defined]

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(
        self,
        slots: IntArray,
        rows: IntArray,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        assert drafted is None, "this model verifies no drafts"
        places = np.array([self._row(slot) for slot in slots.tolist()])
        self._lengths[places] = lengths
        first, last = int(places.min()), int(places.max()) + 1
        self._write(places, rows[:, 0], [in_depth(how) for how in sampling], keys, first, last)
        self._calls.run(first, last)
        outputs = {
            name: np.array(self._outputs[name].read(first, last)[places - first])
            for name in ("frames", "end_scores", "is_finite")
        }
        frames, ends = outputs["frames"], outputs["end_scores"]
        self._last[places] = frames
        self._generated[places, frames[:, 0]] = True
        self._made[places] += 1
        self._lengths[places] = lengths + 1
        return Done(Steps(frames[:, None], ends[:, None], outputs["is_finite"][:, None]))

    def _write(
        self,
        places: IntArray,
        rows: IntArray,
        sampling: Sequence[DepthSampling],
        keys: IntArray,
        first: int,
        last: int,
    ) -> None:
        """All rows of the range have a length of their own, so that an idle one writes where its next step writes."""
        width = last - first
        every = {name: np.zeros((width, *shape), dtype) for name, (shape, dtype) in self._feeds().items()}
        for name in ("temperature", "top_p", "inner_temperature", "inner_top_p", "penalty", "top_k", "inner_top_k"):
            every[name][:] = 1
        every["codes"][:] = self._part.nothing
        every["seqlens_k"][:] = self._lengths[first:last]
        at = places - first
        every["text"][at, 0] = rows[:, 0]
        every["codes"][at, 0] = self._codes(rows[:, 1:], self._last[places])
        every["generated"][at] = self._generated[places]
        for number, (place, how) in enumerate(zip(at.tolist(), sampling, strict=True)):
            every["penalty"][place] = how.repetition_penalty
            every["may_end"][place] = self._made[places[number]] >= how.min_frames
            drawn = numbers(int(keys[number, 0]), int(keys[number, 1]), self._part.codebooks)
            for prefix, temperature, top_k, top_p, own in (
                ("", how.temperature, how.top_k, how.top_p, slice(0, 1)),
                ("inner_", how.inner_temperature, how.inner_top_k, how.inner_top_p, slice(1, None)),
            ):
                greedy = temperature == 0  # the number 0 is the likeliest
                every[f"{prefix}temperature"][place] = 1 if greedy else temperature
                every[f"{prefix}top_k"][place] = top_k or self._part.most_likely
                every[f"{prefix}top_p"][place] = top_p
                every["numbers"][place, own] = 0 if greedy else drawn[own]
        for name, values in every.items():
            self._inputs[name].write(values, first)
        self._longest.write(np.array([int(self._lengths[first:last].max()) + 1], np.int32))

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        raise AssertionError("this model verifies no drafts")


def in_depth(how: Sampling) -> DepthSampling:
    """Of a family that knows no depth, as measurements use it, the same for all codes."""
    if isinstance(how, DepthSampling):
        return how
    return DepthSampling(
        temperature=how.temperature,
        top_k=how.top_k,
        top_p=how.top_p,
        repetition_penalty=how.repetition_penalty,
        min_frames=how.min_frames,
        inner_temperature=how.temperature,
        inner_top_k=how.top_k,
        inner_top_p=how.top_p,
    )
