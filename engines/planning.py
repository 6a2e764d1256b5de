"""Holds the current plan: makes a new one when it is used up, drops it for an urgent stream, and looks for a vocoder
job only when something has changed. What a plan says is `scheduling.policy`'s."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection

from engines.config import EngineConfig
from engines.engine_model import Model
from engines.scheduling.device_profile import DeviceProfile
from engines.scheduling.policy import Prefill, Step, View, calls, vocode
from engines.sequence import Phase, Sequence
from engines.steps import Made, StepRunner
from engines.vocoding import Vocoding

Call = Prefill | Step


class Planning:
    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        profile: DeviceProfile,
        sequences: Collection[Sequence],
        steps: StepRunner,
        vocoding: Vocoding,
    ) -> None:
        """`sequences`: a live view of all."""
        self._model, self._config, self._profile = model, config, profile
        self._sequences, self._steps, self._vocoding = sequences, steps, vocoding
        self._plan: deque[Call] = deque()
        self._changed = False  # a stream may be due at the vocoder that was not
        self._look_again_s = math.inf  # when one will be, should nothing change

    @property
    def left(self) -> Collection[Call]:
        """Of the plan; to read only."""
        return tuple(self._plan)

    def changed(self) -> None:
        """Frames were made, audio came back, text was read, a stream paused or ended."""
        self._changed = True

    def became_ready(self, sequence: Sequence, now: float) -> None:
        """A sequence can run that could not. If it is urgent, drops the rest of the plan so that it goes next."""
        can_run = self._plan and (sequence.can_step or sequence.can_prefill)
        if can_run and self._view().is_urgent(sequence.spare_s(now, sequence.made)):
            self._plan.clear()

    def run_next(self, now: float) -> Made:
        """The plan's next item, or a new plan's first, with something left to do; empty where there is none."""
        for fresh in (False, True):
            if fresh:
                self._plan.extend(calls(self._view(), now))
            while self._plan:
                if made := self._steps.run(self._plan.popleft()):
                    return made
        return Made()

    def dispatch(self, now: float) -> None:
        """Gives the vocoder its next job, if one is due."""
        if not self._is_due(now):
            return
        job, self._look_again_s = vocode(self._view(), now)
        self._changed = job is not None  # with nothing due, nothing will be until something changes
        if job is not None:
            self._vocoding.start([one.take(job.frames) for one in job.streams], urgent=job.urgent)

    def wait_s(self, now: float) -> float:
        """For how long there is nothing to do unless something changes. Without room the vocoder wakes the loop."""
        return self._look_again_s - now if self._vocoding.room(urgent=True) else math.inf

    def has_work(self, now: float) -> bool:
        view = self._view()
        return bool(calls(view, now)) or (self._is_due(now) and vocode(view, now)[0] is not None)

    def _is_due(self, now: float) -> bool:
        return self._vocoding.room(urgent=True) and (self._changed or now >= self._look_again_s)

    def _view(self) -> View:
        running = sum(one.phase is Phase.RUNNING for one in self._sequences)
        return View(
            streams=self._sequences,
            profile=self._profile,
            chunk_frames=self._model.spec.chunk_frames,
            first_chunk=self._model.spec.first_frames[self._profile.is_crowded(running)],
            config=self._config,
            groups=self._model.talker.groups,
            drafts=self._steps.drafts,
            has_room=self._vocoding.room(urgent=False),
            has_urgent_room=self._vocoding.room(urgent=True),
        )
