"""The shipped voice's speech model behind the Talker Protocol: one code a step, sampled on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.families.base import BoolArray, Frames, Pending, Prefix, Rows, Sampling, Steps
from engines.families.common.done import Done
from engines.families.common.sampling import sample
from engines.families.common.slot_calls import groups
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.inputs import frames_of
from engines.families.phone_pointer.networks import SpeechModel
from engines.runtime.base import IntArray


class PointerTalker:
    """Steps ranges of neighbouring slots. Idle rows between wanted ones are computed and write where their own next
    step writes again, so each slot's length is kept here too."""

    def __init__(self, bundle: Bundle, model: SpeechModel) -> None:
        self._bundle, self._model = bundle, model
        self.kernels, self.device = model.kernels, model.device
        self.draft_frames = model.most_steps - 1
        self._code_row, self._begin = bundle.adapter.offsets["code"], bundle.codes.begin
        self._last = np.full(len(model.past), self._begin)  # code of each slot, the one that opens a segment at first

    def warm_up(self) -> None:
        self._model.step(0, 1)

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        self._model.past[slot], self._last[slot] = 0, self._begin
        return 0

    def release(self, slot: int) -> None:
        self.begin(slot, None)

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return groups(slots, others, call_rows)

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
        return Done(self._decode(slots, rows, lengths, sampling, keys) if drafted is None else self._verify(
            slots, rows, counts, lengths, sampling, keys, drafted
        ))  # fmt: skip

    def _decode(
        self, slots: IntArray, rows: Rows, lengths: IntArray, sampling: Sequence[Sampling], keys: IntArray
    ) -> Steps:
        model, first, last = self._model, int(slots.min()), int(slots.max()) + 1
        model.features[slots, 1:] = rows[:, 0]
        model.features[slots, 0] = self._code_row + self._last[slots]
        model.past[slots] = lengths
        logits = model.step(first, last)
        if last - first > len(slots):
            logits = logits[slots - first]
        codes, is_finite = sample(logits, sampling, keys)
        self._last[slots] = codes
        model.past[slots] = lengths + 1
        frames = frames_of(self._bundle, codes[:, None], rows)
        return Steps(frames, np.zeros((len(slots), 1), np.float32), is_finite[:, None])

    def _verify(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames,
    ) -> Steps:
        """One call a row: the graph takes the steps of one slot."""
        batch, steps = len(slots), self._model.most_steps
        made, is_finite = np.zeros((batch, steps), np.int64), np.zeros((batch, steps), np.bool_)
        features = np.zeros((steps, rows.shape[2] + 1), np.int64)
        for row, (slot, count) in enumerate(zip(slots.tolist(), counts.tolist(), strict=True)):
            features[:count, 1:] = rows[row, :count]
            features[0, 0] = self._code_row + self._last[slot]
            features[1:count, 0] = self._code_row + drafted[row, : count - 1, 0]
            features[count:] = features[count - 1]  # computed and taken back
            self._model.past[slot] = lengths[row]
            logits = self._model.verify(slot, features)[:count]
            places = [(int(keys[row, 0]), int(keys[row, 1]) + step) for step in range(count)]
            codes, is_finite[row, :count] = sample(logits, [sampling[row]] * count, np.array(places, np.int64))
            made[row, :count] = codes
        frames = frames_of(self._bundle, made[:, : rows.shape[1]], rows)
        return Steps(frames, np.zeros(frames.shape[:2], np.float32), is_finite[:, : rows.shape[1]])

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        self._model.past[slots], self._last[slots] = lengths, frames[:, 0]
