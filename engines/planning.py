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
from engines.sequence import Sequence
from engines.slot_use import SlotUse
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
        slots: SlotUse,
        steps: StepRunner,
        vocoding: Vocoding,
    ) -> None:
        """`sequences`: a live view of all."""
        self._slots, self._steps, self._vocoding = slots, steps, vocoding
        self._first_frames = model.spec.first_frames
        self._view = View(
            streams=sequences,
            profile=profile,
            config=config,
            chunk_frames=model.spec.chunk_frames,
            groups=model.talker.groups,
            first_chunk=self._first_frames[0],
        )
        self.plan = deque[Call]()  # what is left of it
        self._changed = False  # a stream may be due at the vocoder that was not
        self._look_again_s = math.inf  # when one will be, should nothing change

    def changed(self) -> None:
        """Frames were made, audio came back, text was read, a stream paused or ended."""
        self._changed = True

    def became_ready(self, sequence: Sequence, now: float) -> None:
        """A sequence can run that could not. If it is urgent, drops the rest of the plan so that it goes next."""
        can_run = self.plan and (sequence.can_step or sequence.can_prefill)
        if can_run and self._view.is_urgent(sequence.spare_s(now, sequence.made)):
            self.plan.clear()

    def run_next(self, now: float) -> Made:
        """The plan's next item, or a new plan's first, with something left to do; empty where there is none."""
        for fresh in (False, True):
            if fresh:
                self.plan.extend(calls(self._look(), now))
            while self.plan:
                if made := self._steps.run(self.plan.popleft()):
                    return made
        return self._steps.run(None)

    def dispatch(self, now: float) -> None:
        """Gives the vocoder its next job, if one is due."""
        if not self._is_due(now):
            return
        job, self._look_again_s = vocode(self._look(), now)
        self._changed = job is not None  # with nothing due, nothing will be until something changes
        if job is not None:
            self._vocoding.start([one.take(job.frames) for one in job.streams], urgent=job.urgent)

    def wait_s(self, now: float) -> float:
        """For how long there is nothing to do unless something changes. Without room the vocoder wakes the loop."""
        return self._look_again_s - now if self._vocoding.room(urgent=True) else math.inf

    def has_work(self, now: float) -> bool:
        view = self._look()
        at_lm = self._steps.in_flight or calls(view, now)
        return bool(at_lm) or (self._is_due(now) and vocode(view, now)[0] is not None)

    def _is_due(self, now: float) -> bool:
        return self._vocoding.room(urgent=True) and (self._changed or now >= self._look_again_s)

    def _look(self) -> View:
        """The view as it is now."""
        view = self._view
        view.first_chunk = self._first_frames[view.profile.is_crowded(self._slots.in_use)]
        view.drafts = self._steps.drafts
        view.has_room = self._vocoding.room(urgent=False)
        return view
