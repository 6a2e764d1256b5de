"""The talker on a device that makes a frame in one captured call, behind the Talker Protocol.

Rows are slots, and a call covers the slots from 0 to the last one wanted, in the next bucket. Behind the slots lie rows
of voice prefixes, computed once and copied into each slot that begins with one. The last frame and the codes
generated so far stay on the device. An idle row writes its cache where its own next step writes again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from engines.errors import EngineFault
from engines.families.base import BoolArray, Frames, Pending, Prefix, Sampling, Steps
from engines.families.common.device_calls import InFlight, buckets, one_call, prepare, spread
from engines.families.common.device_form import DeviceForm
from engines.families.common.done import Done
from engines.families.common.randomness import gumbel_places
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.device_buffers import TalkerBuffers
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.script import DepthSampling
from engines.families.qwen3_tts.talker import PREFIXES, in_depth
from engines.runtime.base import Array, IntArray
from engines.runtime.device_backend import DeviceBackend

_LEAST_TEMPERATURE = 1e-3  # below it logits over temperature leave float32: greedy is what it means


class DeviceTalker:
    draft_frames = 0

    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        self._part, self._slots, self._positions = bundle.qwen3_tts.talker, slots, form.positions
        self._end, self._block = bundle.qwen3_tts.codec.end, form.prefill
        frame, prefill = backend.graphs(form.graph("frame"), form.graph("prefill"))
        self.kernels, self.device = frame.kernels, backend.device
        self.arithmetic = backend.arithmetic(self.kernels)
        rows = slots + PREFIXES
        self._backend, self._buffers = backend, TalkerBuffers(bundle, form, backend, slots, rows)
        self._buckets, self.cost = buckets(slots, one=backend.deterministic), 1.0
        self._smallest = frame.bind(self._buffers.frame(1)) if backend.deterministic else None
        self._frames = {count: frame.bind(self._buffers.frame(count)) for count in self._buckets}
        self._prefills = [prefill.bind(self._buffers.prefill(row)) for row in range(rows)]
        self._lengths = np.zeros(rows, np.int64)
        self._last = np.zeros((rows, self._part.codebooks), np.int64)
        self._made = np.zeros(rows, np.int64)  # frames of the segment
        self._speakers = np.zeros((rows, self._part.width), np.float32)
        self._prefixes = OrderedDict[str, tuple[int, int]]()  # key -> row, positions; the oldest use first

    def warm_up(self) -> None:
        self.cost = prepare(self._backend, self._frames.values(), self._smallest, self._prefills)
        self._buffers.fill_tables()

    def deepest_keys(self) -> Array:
        """Of the last layer: [rows, kv_heads, positions, head_dim]."""
        return self._buffers.slabs[f"k{self._part.layers - 1}"].read()

    # -- slots and prefixes ------------------------------------------------------------------------------------------

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        voice = cast(VoicePrefix, prefix)
        self.release(slot)
        self._speakers[slot] = 0 if voice.speaker is None else voice.speaker
        if voice.key is None:
            self._prefill_row(slot, voice.rows)
        elif len(voice.rows):
            self._lengths[slot] = self._copied(slot, voice)
        return int(self._lengths[slot])

    def _copied(self, slot: int, voice: VoicePrefix) -> int:
        """Positions, from the kept row of this voice, which is computed where it is not there."""
        assert voice.key is not None
        kept = self._prefixes.get(voice.key)
        if kept is None:
            taken = {row for row, _ in self._prefixes.values()}
            free = [row for row in range(self._slots, self._slots + PREFIXES) if row not in taken]
            row = free[0] if free else self._prefixes.popitem(last=False)[1][0]
            self._lengths[row], self._speakers[row] = 0, self._speakers[slot]
            self._prefill_row(row, voice.rows)
            kept = self._prefixes[voice.key] = row, len(voice.rows)
        self._prefixes.move_to_end(voice.key)
        self._buffers.copy(kept[0], slot, kept[1])
        return kept[1]

    def release(self, slot: int) -> None:
        self._lengths[slot] = self._made[slot] = self._last[slot] = 0
        self._buffers.forget(slot)

    def _by_row(self) -> tuple[Array, ...]:
        return self._lengths, self._last, self._made, self._speakers

    def swap_out(self, slot: int) -> object:
        kept = self._buffers.taken(slot, int(self._lengths[slot])), [state[slot].copy() for state in self._by_row()]
        self.release(slot)
        return kept

    def swap_in(self, slot: int, kept: Any) -> None:
        held, states = kept
        self._buffers.put(slot, held)
        for state, value in zip(self._by_row(), states, strict=True):
            state[slot] = value

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int = 1) -> list[list[int]]:
        return one_call([*slots], [*others])

    # -- prefill -----------------------------------------------------------------------------------------------------

    def prefill(self, slots: IntArray, rows: IntArray, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        is_finite = np.ones(len(slots), np.bool_)
        for number, slot in enumerate(slots.tolist()):
            self._lengths[slot] = lengths[number]
            is_finite[number] = self._prefill_row(slot, rows[offsets[number] : offsets[number + 1]])
        return Done(is_finite)

    def _prefill_row(self, row: int, rows: IntArray) -> bool:
        """In blocks, the last one filled up: what lies behind the length is written again before it is read."""
        is_finite, part = True, self._part
        for start in range(0, len(rows), self._block):
            newest = int(self._lengths[row]) + self._block - 1
            if newest >= self._positions:
                raise EngineFault(f"a prompt would reach position {newest}, a slot holds {self._positions}")
            some = rows[start : start + self._block]
            block = np.zeros((self._block, rows.shape[1]), np.int64)
            block[: len(some)] = some
            speaker = np.where((block[:, 1] == part.speaker)[:, None], self._speakers[row], np.float32(0))
            codes = block[:, 1:]
            codes = np.where(codes[:, :1] == part.follow, self._last[row] + part.starts, codes)
            codes = np.where(codes[:, :1] == part.speaker, part.nothing, codes)
            for name, values in (("text", block[:, 0]), ("codes", codes), ("speaker", speaker)):
                self._buffers.prompt[name].write(values[None])
            self._buffers.prompt["lengths"].write(self._lengths[row : row + 1].astype(np.int32))
            call = self._prefills[row]
            call.launch()
            call.wait()
            is_finite = is_finite and bool(np.isfinite(self._buffers.prompt["checksum"].read()).all())
            self._lengths[row] += len(some)
        return is_finite

    # -- steps -------------------------------------------------------------------------------------------------------

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
        if (beyond := int(lengths.max()) + 1) > self._positions:  # a device would write at the end instead
            raise EngineFault(f"a step would reach position {beyond}, a slot holds {self._positions}")
        covered = next(count for count in self._buckets if count > int(slots.max()))
        self._lengths[slots] = lengths
        values = self._buffers.values
        values["lengths"].write(self._lengths[:covered].astype(np.int32))
        for name, given in self._given(slots, rows[:, 0], [in_depth(how) for how in sampling], keys).items():
            values[name].write(spread(covered, slots, given))
        self._lengths[slots] += 1
        self._made[slots] += 1
        call = self._frames[covered]
        call.launch()

        def read() -> Steps:
            frames = np.array(values["frames"].read()[slots])
            is_finite = np.isfinite(values["scores"].read()[slots])[:, None]
            self._last[slots] = frames
            ends = (frames[:, :1] == self._end).astype(np.float32)
            return Steps(frames[:, None], ends, is_finite)

        return InFlight(call, read)

    def _given(
        self, slots: IntArray, rows: IntArray, sampling: Sequence[DepthSampling], keys: IntArray
    ) -> dict[str, Array]:
        """By name of the graph's inputs, a row each."""
        part, count = self._part, len(slots)
        follows = rows[:, 1] == part.follow
        codes = np.where((follows | (rows[:, 1] == part.speaker))[:, None], part.nothing, rows[:, 1:])
        inner = part.codebooks - 1
        temperature = np.array([[one.temperature] + [one.inner_temperature] * inner for one in sampling], np.float32)
        temperature[temperature < _LEAST_TEMPERATURE] = 0
        most = part.most_likely
        top_k = np.array([[one.top_k or most] + [one.inner_top_k or most] * inner for one in sampling], np.int64)
        penalty = np.array([one.repetition_penalty for one in sampling], np.float32)
        may_end = self._made[slots] >= np.array([one.min_frames for one in sampling])
        given: dict[str, Any] = {
            "text": rows[:, 0],
            "codes": codes,
            "follows": follows,
            "is_active": np.ones(count, np.bool_),
            "noise_at": gumbel_places(keys, 1)[:, 0],
            "temperature": temperature,
            "top_k": top_k,
            "damping": np.stack([penalty, 1 / penalty], axis=1),
            "may_end": may_end.astype(np.int64),
            "top_p": np.array([one.top_p for one in sampling], np.float32),
            "sharpness": 1 / np.where(temperature[:, 0] > 0, temperature[:, 0], np.float32(1)),
        }
        return given

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        raise AssertionError("this model verifies no drafts")
