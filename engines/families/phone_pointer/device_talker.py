"""The shipped voice's speech model on a device that samples for itself, behind the Talker Protocol.

Rows are slots, and a call covers the slots from 0 to the last one wanted, in the next bucket: slots are leased from the
lowest on, and an idle row costs a device next to nothing. An idle row writes its cache where its own next step writes
again, and keeps its last frame. On a deterministic backend one graph over all slots serves, the longest verification:
a single step is its first one.

Two decode steps may be in flight, since a segment's end is planned: each has small inputs and results of its own. All
else is in the stream's order. A verification has one set and the host keeps its last frame, so it goes alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engines.errors import EngineFault
from engines.families.base import BoolArray, Frames, Pending, Prefix, Rows, Sampling, Steps
from engines.families.common.device_calls import InFlight, buckets, one_call, prepare, spread
from engines.families.common.device_form import DeviceForm
from engines.families.common.randomness import gumbel_places
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import LmBuffers
from engines.families.phone_pointer.inputs import frames_of
from engines.runtime.base import Call, IntArray
from engines.runtime.device_backend import DeviceBackend

_LEAST_TEMPERATURE = 1e-3  # below it logits over temperature leave float32: greedy is what it means


class DeviceTalker:
    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        decode, *verify = backend.graphs(form.graph("decode"), *(form.graph(f"verify-{n}") for n in form.verify_steps))
        self.kernels, self.device, self.draft_frames = decode.kernels, backend.device, form.draft_frames
        self.arithmetic = backend.arithmetic(self.kernels)
        self.launches_ahead = not backend.deterministic
        in_flight = 2 if self.launches_ahead else 1
        self._buffers = LmBuffers(bundle, form, backend, slots, in_flight=in_flight)
        self._bundle, self._backend, self._free = bundle, backend, deque(range(in_flight))
        self._only_steps = form.draft_frames + 1 if backend.deterministic else None  # S of all calls
        self._buckets, self.cost = buckets(slots, one=backend.deterministic), 1.0
        self._smallest = decode.bind(self._buffers.decode(1)) if backend.deterministic else None
        self._calls = {
            (steps, rows): graph.bind(self._buffers.verify(rows, steps))
            for steps, graph in zip(form.verify_steps, verify, strict=True)
            for rows in self._buckets
            if self._only_steps in (None, steps)
        }
        self._decodes = {
            (which, rows): decode.bind(self._buffers.decode(rows, which))
            for which in self._free
            for rows in self._buckets
            if self._only_steps is None
        }
        self._lengths, self._positions = np.zeros(slots, np.int32), form.positions

    def warm_up(self) -> None:
        self.cost = prepare(self._backend, [*self._calls.values(), *self._decodes.values()], self._smallest)
        self._buffers.fill_tables()
        self._buffers.values["temperature"].write(np.ones(len(self._lengths), np.float32))
        self._buffers.values["last"].write(np.full(len(self._lengths), self._bundle.codes.begin))

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        self._lengths[slot] = 0
        self._backend.copy(self._buffers.first, self._buffers.values["last"].rows(slot, slot + 1))
        return 0

    def release(self, slot: int) -> None:
        self._lengths[slot] = 0

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
        steps = self._only_steps or rows.shape[1]
        if (beyond := int(lengths.max()) + steps) > self._positions:  # a device would write at the end instead
            raise EngineFault(f"a step would reach position {beyond}, a slot holds {self._positions}")
        last = int(slots.max()) + 1
        covered = next(rows for rows in self._buckets if rows >= last)
        if not self._free:
            raise EngineFault(f"{len(self._buffers.sets)} steps are in flight; wait for the first of them")
        which = self._free[0] if steps == 1 else 0
        values = self._buffers.sets[which]
        self._lengths[slots] = lengths
        values["lengths"].write(self._lengths[:covered])
        temperature = np.array([one.temperature for one in sampling], np.float32)
        is_drawn = temperature >= _LEAST_TEMPERATURE
        values["temperature"].write(spread(covered, slots, np.where(is_drawn, temperature, 1), 1))
        noise_at = np.where(is_drawn[:, None], gumbel_places(keys, steps), self._buffers.silent_at)
        if steps == 1:
            return self._decode(which, covered, slots, rows, noise_at[:, 0])
        ahead = np.zeros((len(slots), steps - 1), np.int64)
        if drafted is not None:
            ahead[:, : drafted.shape[1]] = drafted[:, :, 0]
        verified = self._verify(covered, slots, rows, counts, noise_at, ahead)
        return verified if drafted is not None else _First(verified, self, slots, lengths)

    def _decode(self, which: int, covered: int, slots: IntArray, rows: Rows, noise_at: IntArray) -> Pending[Steps]:
        values = self._buffers.sets[which]
        active = np.zeros(covered, np.bool_)
        active[slots] = True
        values["is_active"].write(active)
        values["context"].write(spread(covered, slots, rows[:, 0]))
        values["noise_at"].write(spread(covered, slots, noise_at))
        launched = self._launched(self._decodes[which, covered], slots, rows, values, lambda: self._free.append(which))
        self._free.remove(which)
        self._lengths[slots] += 1
        return launched

    def _verify(
        self, covered: int, slots: IntArray, rows: Rows, counts: IntArray, noise_at: IntArray, drafted: IntArray
    ) -> Pending[Steps]:
        """Rows with fewer steps repeat their last one: what that gives is not committed."""
        steps = drafted.shape[1] + 1
        within = np.minimum(np.arange(steps), counts[:, None] - 1)
        rows = np.take_along_axis(rows, within[:, :, None], axis=1)
        ahead = self._buffers.ahead[steps]
        ahead["context"].write(spread(covered, slots, rows))
        ahead["drafted"].write(spread(covered, slots, drafted))
        ahead["noise_at"].write(spread(covered, slots, noise_at))
        return self._launched(self._calls[steps, covered], slots, rows, ahead)

    def _launched(
        self,
        call: Call,
        slots: IntArray,
        rows: Rows,
        values: dict[str, Any],
        done: Callable[[], None] = lambda: None,
    ) -> Pending[Steps]:
        call.launch()

        def read() -> Steps:
            codes, scores = values["frames"].read()[slots], values["scores"].read()[slots]
            shape = rows.shape[:2]
            frames = frames_of(self._bundle, codes.reshape(shape), rows)
            return Steps(frames, np.zeros(shape, np.float32), np.isfinite(scores).reshape(shape))

        return InFlight(call, read, done)

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        self._lengths[slots] = lengths
        last = np.array(self._buffers.values["last"].read())
        last[slots] = frames[:, 0]
        self._buffers.values["last"].write(last)


class _First:
    """The first step of a verification, which stands: a decode step."""

    def __init__(self, verified: Pending[Steps], talker: DeviceTalker, slots: IntArray, lengths: IntArray) -> None:
        self._verified, self._talker, self._slots, self._lengths = verified, talker, slots, lengths

    def wait(self) -> Steps:
        frames, end_scores, is_finite, _ = self._verified.wait()
        self._talker.keep(self._slots, self._lengths + 1, frames[:, 0])
        return Steps(frames[:, :1], end_scores[:, :1], is_finite[:, :1])
