"""Fills the device profile: times steps and vocoder jobs on scratch slots, and rehearses the loop on real sequences.

Only while no sequence holds a slot. Before the engine is ready it takes at most BUDGET_S; what is left is measured
while the engine idles, one call at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from engines.bundle import Bundle
from engines.config import EngineConfig
from engines.counters import Counters
from engines.messages import Append, Cancel, EndText, Submit
from engines.runtime.base import LmRuntime
from engines.scheduling.device_profile import Curve, DeviceProfile
from engines.vocoding import Vocoding

if TYPE_CHECKING:
    from engines.loop import Engine

BUDGET_S = 0.3
_CALLS_SHARE = 0.4  # of the budget, for single calls; the rehearsal gets the rest
_REHEARSED = 16  # streams: batches are full, and one batch is not all
_SETTLED = 0.4  # of the rehearsal: first chunks are small, and first calls cold
_SIZES = (16, 1, 2, 64, 8, 32, 4)  # should the budget end early, the first ones tell most
_IDLE_TURNS = 5  # measurements of each size, while idle
_TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved. " * 2


class Measuring:
    def __init__(
        self,
        bundle: Bundle,
        lm: LmRuntime,
        vocoding: Vocoding,
        profile: DeviceProfile,
        counters: Counters,
        clock: Callable[[], float],
        config: EngineConfig,
    ) -> None:
        self._bundle, self._lm, self._vocoding = bundle, lm, vocoding
        self._profile, self._counters, self._clock = profile, counters, clock
        self._slots = config.slots
        self._left: deque[tuple[Curve, int]] = deque()
        most = min(config.slots, config.max_batch)
        rows = [size for size in _SIZES if size <= most]
        codes = [size for size in _SIZES if size > 1]
        self._turn = [(profile.steps, size) for size in rows] + [(profile.jobs, size) for size in codes]
        self._turn.sort(key=lambda one: _SIZES.index(one[1]))

    def before_ready(self, engine: Engine) -> None:
        began_s = self._clock()
        calls_until_s, until_s = began_s + _CALLS_SHARE * BUDGET_S, began_s + BUDGET_S
        known = self._profile.measured  # by an earlier start
        for turn in range(0 if known else 3):
            for curve, size in self._turn:
                takes_s = 2 * curve(size) if curve.measured else 0.0
                if self._clock() + takes_s < calls_until_s or not curve.measured:
                    self._time(curve, size, cold=turn == 0)
        if not known:
            self._rehearse(engine, until_s)
        self._left.extend(self._turn * _IDLE_TURNS)

    def when_idle(self) -> None:
        """The next of what is left, if any is."""
        if self._left:
            self._time(*self._left.popleft(), cold=True)

    def _time(self, curve: Curve, size: int, *, cold: bool) -> None:
        """`cold`: the first call of a size pays for memory and bindings, and is not counted."""
        run = self._step if curve is self._profile.steps else self._job
        if cold:
            run(size)
        began_s = self._clock()
        run(size)
        curve.add(size, self._clock() - began_s)

    def _step(self, rows: int) -> None:
        self._lm.inputs.past[:rows] = self._bundle.adapter.max_steps // 8  # a usual context
        self._lm.step(0, rows)
        self._lm.inputs.past[:rows] = 0

    def _job(self, codes: int) -> None:
        each = 4 if codes % 4 == 0 else 2
        self._vocoding.try_job(rows=min(self._slots, codes // each), codes=each)

    def _rehearse(self, engine: Engine, until_s: float) -> None:
        """The loop's own time a row: what rounds take beyond their calls of the LM, the vocoder at work beside them."""
        names = [f"rehearsal-{index}" for index in range(min(self._slots, _REHEARSED))]
        for seed, name in enumerate(names):
            engine.submit(Submit(request_id=name, voice=self._bundle.voices[0].id, seed=seed))
            engine.submit(Append(request_id=name, text=_TEXT))
            engine.submit(EndText(request_id=name))
        until_s = max(until_s, self._clock() + BUDGET_S / 3)  # on the slowest machines
        settled_s = self._clock() + _SETTLED * (until_s - self._clock())
        own_s, rows, counters = 0.0, 0, self._counters
        while (began_s := self._clock()) < until_s and not (rows and engine.empty):
            predicted_s, tokens = counters.predicted_s, counters.tokens
            engine.step()
            if began_s >= settled_s:
                own_s += self._clock() - began_s - (counters.predicted_s - predicted_s)
                rows += counters.tokens - tokens
            if not engine.has_work:
                engine.wait(until_s - self._clock())
        for name in names:
            engine.submit(Cancel(request_id=name))
        while not engine.empty:
            engine.step()
            if not engine.has_work and not engine.empty:
                engine.wait(BUDGET_S)
        self._profile.loop_row_s = max(0.0, own_s / max(1, rows))
        counters.reset()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
