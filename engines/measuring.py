"""Fills the device profile: times steps and vocoder jobs on scratch slots, and rehearses the loop on real sequences.

Only while no sequence holds a slot, whose state is cleared when one begins there. Before the engine is ready it takes
at most BUDGET_S; what is left is measured while the engine idles, one call at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from engines.families.base import Sampling
from engines.messages import Append, Cancel, EndText, Submit
from engines.scheduling.device_profile import Curve
from engines.vocoding import to_s16

if TYPE_CHECKING:
    from engines.engine import Engine

BUDGET_S = 0.3
_CALLS_SHARE = 0.4  # of the budget, for single calls; the rehearsal gets the rest
_REHEARSED = 16  # streams: batches are full, and one batch is not all
_SIZES = (16, 1, 2, 64, 8, 32, 4)  # should the budget end early, the first ones tell most
_IDLE_ROUNDS = 4  # measurements of each size, and rehearsals, while idle
_TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved."


class Measuring:
    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        """`clock` tells the CPU seconds of the loop's thread: others' are not the machine's; on a device all."""
        self._engine, self._model, self._clock = engine, engine.model, clock
        self._profile, self._counters, self._slots = engine.profile, engine.counters, engine.config.slots
        self.rehearses = False  # nothing is learned or guarded meanwhile
        self._own = list[float]()  # seconds a row, of each rehearsal
        self._measurements = list[tuple[Curve, int]]()
        for size in _SIZES:
            if size <= min(self._slots, engine.config.max_batch):
                self._measurements.append((self._profile.steps, size))
            if size > 1:
                self._measurements.append((self._profile.jobs, size))
        self._left = deque((*one, counts) for one in self._measurements * _IDLE_ROUNDS for counts in (False, True))
        self._rehearsals_left = _IDLE_ROUNDS

    def before_ready(self) -> None:
        if self._profile.measured:  # by an earlier start
            return
        for run in (self._step, self._job):  # the first calls of all load code and memory
            for size in (_SIZES[0], 2, _SIZES[0]):
                run(size)
        self._rehearse(self._clock() + BUDGET_S, lambda: self._counters.frames > 0)
        began_s = self._clock()
        calls_until_s, until_s = began_s + _CALLS_SHARE * BUDGET_S, began_s + BUDGET_S
        for round_ in range(3):
            for curve, size in self._measurements:
                if self._clock() + 2 * _takes_s(curve, size) < calls_until_s or not curve.measured:
                    if round_ == 0:
                        self._run(curve, size)
                    curve.add(size, self._run(curve, size))
        until_s = max(until_s, self._clock() + BUDGET_S / 3)  # on the slowest machines
        self._learn_own(self._rehearse(until_s, lambda: False))

    def when_idle(self, wanted: Callable[[], bool] | None) -> None:
        """The next of what is left, if any is: a call, or a rehearsal, which ends early when the engine is `wanted`.
        None: other threads submit at any time, and a rehearsal would swallow their events.

        A request that comes meanwhile waits for it, so one call is made at a time, and one longer than a frame is left
        out: the curve goes on straight."""
        while self._left and _takes_s(*self._left[0][:2]) > self._model.spec.frame_s:
            self._left.popleft()
        if self._left:
            curve, size, counts = self._left.popleft()
            seconds = self._run(curve, size)
            if counts:
                curve.add(size, seconds)
        elif self._rehearsals_left and wanted is not None:
            self._rehearsals_left -= 1
            self._learn_own(self._rehearse(self._clock() + BUDGET_S, wanted))

    def _run(self, curve: Curve, size: int) -> float:
        """-> seconds. The first call of a size pays for memory and bindings."""
        began_s = self._clock()
        (self._step if curve is self._profile.steps else self._job)(size)
        return self._clock() - began_s

    def _step(self, rows: int) -> None:
        rows = min(rows, self._slots)
        talker, spec, slots = self._model.talker, self._model.spec, np.arange(rows)
        context = np.full(rows, spec.positions // 8)  # a usual one
        inputs, none = np.zeros((rows, 1, spec.row_width), np.int64), np.zeros((rows, 2), np.int64)
        talker.step(slots, inputs, np.ones(rows, np.int64), context, [Sampling()] * rows, none, None).wait()
        for slot in range(rows):
            talker.release(slot)

    def _job(self, frames: int) -> None:
        spec = self._model.spec
        unit, (small, large) = spec.chunk_frames[0], spec.first_frames
        each = large if frames * unit % large == 0 else small
        controls = self._model.family.open(Submit(request_id="", voice=spec.voices[0].id, seed=0)).controls
        rows = min(self._slots, frames * unit // each)
        silent, none = np.zeros((rows, each, spec.frame_width), spec.frame_dtype), np.zeros(rows, np.int64)
        sound = self._model.vocoder.run(np.arange(rows), silent, none, none, [controls] * rows, none > 0).wait()
        for samples in sound.samples:
            to_s16(samples)

    def _rehearse(self, until_s: float, enough: Callable[[], bool]) -> list[float]:
        """Seconds of the loop's own for a row, in each round: beyond its calls of the LM, the vocoder at work beside
        it. Rounds count once all streams have begun: to read texts takes several times as long."""
        engine, names = self._engine, [f"rehearsal-{index}" for index in range(min(self._slots, _REHEARSED))]
        for seed, name in enumerate(names):
            engine.submit(Submit(request_id=name, voice=self._model.spec.voices[0].id, seed=seed))
            engine.submit(Append(request_id=name, text=_TEXT))
            engine.submit(EndText(request_id=name))
        rounds, counters, begun = list[float](), self._counters, len(names) * max(self._model.spec.first_frames)
        counted, self.rehearses, correction = counters.copy(), True, self._profile.correction
        self._profile.loop_row_s, self._profile.correction = None, 1.0  # calls alone are predicted
        while (began_s := self._clock()) < until_s and not engine.empty and not enough():
            predicted_s, frames = counters.predicted_s, counters.frames
            engine.step()
            rows = counters.frames - frames
            if rows and frames - counted.frames >= begun:
                rounds.append((self._clock() - began_s - (counters.predicted_s - predicted_s)) / rows)
            if not engine.has_work:
                engine.wait(BUDGET_S)
        for name in names:
            engine.submit(Cancel(request_id=name))
        while not engine.empty:
            engine.step()
            if not engine.has_work and not engine.empty:
                engine.wait(BUDGET_S)
        counters.restore(counted)
        self.rehearses, self._profile.correction = False, correction
        return rounds

    def _learn_own(self, rounds: list[float]) -> None:
        """Of medians: a round in which the durations of all are planned anew comes once in 64."""
        if rounds:
            self._own.append(median(rounds))
        self._profile.loop_row_s = max(0.0, median(self._own)) if self._own else 0.0


def _takes_s(curve: Curve, size: int) -> float:
    """As far as it is known yet."""
    return curve(size) if curve.measured else 0.0


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
