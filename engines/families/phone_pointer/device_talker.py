"""The shipped voice's speech model on a device that samples for itself, behind the Talker Protocol.

Rows are slots, and a call covers the slots from 0 to the last one wanted, in the next bucket: slots are leased from the
lowest on, and an idle row costs a device next to nothing. An idle row writes its cache where its own next step writes
again, and keeps its last frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.errors import EngineFault
from engines.families.base import BoolArray, Frames, Pending, Prefix, Rows, Sampling, Steps
from engines.families.common.device_calls import InFlight, buckets, one_call, spread
from engines.families.common.device_form import DeviceForm
from engines.families.common.randomness import gumbel_at
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import LmBuffers
from engines.runtime.base import Call, IntArray
from engines.runtime.device_backend import DeviceBackend

_LEAST_TEMPERATURE = 1e-3  # below it logits over temperature leave float32: greedy is what it means


class DeviceTalker:
    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        decode, *verify = backend.graphs(form.graph("decode"), *(form.graph(f"verify-{n}") for n in form.verify_steps))
        self.kernels, self.device, self.draft_frames = decode.kernels, backend.device, form.draft_frames
        self.arithmetic = backend.arithmetic(self.kernels)
        self._backend, self._buffers = backend, LmBuffers(bundle, form, backend, slots)
        self._buckets = buckets(slots)
        self._calls = {(1, rows): decode.bind(self._buffers.decode(rows)) for rows in self._buckets}
        for steps, graph in zip(form.verify_steps, verify, strict=True):
            for rows in self._buckets:
                self._calls[steps, rows] = graph.bind(self._buffers.verify(rows, steps))
        self._lengths, self._positions = np.zeros(slots, np.int32), form.positions
        self._begin = bundle.codes.begin

    def warm_up(self) -> None:
        self._backend.prepare(*self._calls.values())
        self._buffers.fill_tables()
        self._buffers.values["temperature"].write(np.ones(len(self._lengths), np.float32))
        self._buffers.values["last"].write(np.full(len(self._lengths), self._begin))

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        self._lengths[slot] = 0
        self._buffers.values["last"].write(np.array([self._begin]), slot)
        return 0

    def release(self, slot: int) -> None:
        self.begin(slot, None)

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return one_call([*slots], [*others])

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        raise AssertionError("this model has no prompt")

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
        if (beyond := int(lengths.max()) + rows.shape[1]) > self._positions:  # a device would write at the end instead
            raise EngineFault(f"a step would reach position {beyond}, a slot holds {self._positions}")
        last = int(slots.max()) + 1
        covered = next(rows for rows in self._buckets if rows >= last)
        self._lengths[slots] = lengths
        self._buffers.values["lengths"].write(self._lengths[:covered])
        temperatures = np.ones(covered, np.float32)
        temperatures[slots] = [one.temperature if one.temperature >= _LEAST_TEMPERATURE else 1.0 for one in sampling]
        self._buffers.values["temperature"].write(temperatures)
        if drafted is None:
            return self._decode(covered, slots, rows[:, 0], sampling, keys)
        return self._verify(covered, slots, rows, counts, sampling, keys, drafted[:, :, 0])

    def _decode(
        self, covered: int, slots: IntArray, rows: Rows, sampling: Sequence[Sampling], keys: IntArray
    ) -> Pending[Steps]:
        values = self._buffers.values
        active = np.zeros(covered, np.bool_)
        active[slots] = True
        values["is_active"].write(active)
        values["context"].write(spread(covered, slots, rows))
        values["noise_at"].write(spread(covered, slots, self._noise_at(sampling, keys, 1)[:, 0]))
        self._lengths[slots] += 1
        return self._launched(self._calls[1, covered], slots, values)

    def _verify(
        self,
        covered: int,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: IntArray,
    ) -> Pending[Steps]:
        """Rows with fewer steps repeat their last one: what that gives is not committed."""
        steps = rows.shape[1]
        within = np.minimum(np.arange(steps), counts[:, None] - 1)
        rows = np.take_along_axis(rows, within[:, :, None], axis=1)
        ahead = self._buffers.ahead[steps]
        ahead["context"].write(spread(covered, slots, rows))
        ahead["drafted"].write(spread(covered, slots, drafted))
        ahead["noise_at"].write(spread(covered, slots, self._noise_at(sampling, keys, steps)))
        return self._launched(self._calls[steps, covered], slots, ahead)

    def _launched(self, call: Call, slots: IntArray, values: dict[str, Any]) -> Pending[Steps]:
        call.launch()

        def read() -> Steps:
            frames, scores = values["frames"].read()[slots], values["scores"].read()[slots]
            shape = (len(slots), -1)
            is_finite = np.isfinite(scores).reshape(shape)
            return Steps(frames.reshape(*shape, 1), np.zeros(is_finite.shape, np.float32), is_finite)

        return InFlight(call, read)

    def _noise_at(self, sampling: Sequence[Sampling], keys: IntArray, steps: int) -> IntArray:
        places = np.full((len(sampling), steps), self._buffers.silent_at, np.int64)
        for row, (one, (seed, made)) in enumerate(zip(sampling, keys.tolist(), strict=True)):
            if one.temperature >= _LEAST_TEMPERATURE:
                places[row] = [gumbel_at(seed, made + step) for step in range(steps)]
        return places

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        self._lengths[slots] = lengths
        for slot, frame in zip(slots.tolist(), frames[:, 0], strict=True):
            self._buffers.values["last"].write(np.array([frame]), slot)
