"""What has happened since the engine started, for metrics. Written by the loop's thread only."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import partial

from engines.messages import Tally

GUARDS = ("segment_too_long",)  # counted from 0, so that the first one is seen as a rise
_rows = partial(Tally, (1, 2, 4, 8, 16, 32, 64, 128, 256))
_seconds = partial(Tally, (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5))


@dataclass(slots=True)
class Counters:
    lm_steps: int = 0
    lm_rows: int = 0  # wanted by a sequence
    lm_idle_rows: int = 0  # computed because they lay between wanted ones
    frames: int = 0  # made
    prefilled_positions: int = 0
    lm_busy_s: float = 0.0
    predicted_s: float = 0.0  # by the device profile, for all rounds that were made
    vocoder_busy_s: float = 0.0
    vocoder_rows: int = 0
    drafts_proposed: int = 0
    drafts_accepted: int = 0  # drafts that equal the sample
    drafts_tolerated: int = 0  # guesses that stood and were only near it
    draft_faults: int = 0  # drafter or check failed; the step was made without
    late_chunks: int = 0  # emitted after their listener had run dry
    swapped: int = 0  # idle streams whose slot another one got
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    guards: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(GUARDS, 0)))
    batch_rows: Tally = field(default_factory=_rows)  # of a call of the LM
    lm_step_s: Tally = field(default_factory=_seconds)
    draft_step_s: Tally = field(default_factory=_seconds)  # a step with drafts, guessing included
    vocoder_step_s: Tally = field(default_factory=_seconds)

    def copy(self) -> Counters:
        return deepcopy(self)

    def restore(self, before: Counters) -> None:
        """What happened since, a rehearsal, is not counted."""
        for one in fields(self):
            setattr(self, one.name, getattr(before, one.name))

    def named(self) -> dict[str, int]:
        """Counts by metric name."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.type == "int"}
        return found | {f"guard_{name}": count for name, count in self.guards.items()}

    def tallies(self) -> dict[str, Tally]:
        return {one.name: deepcopy(getattr(self, one.name)) for one in fields(self) if one.type == "Tally"}
