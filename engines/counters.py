"""What has happened since the engine started, for metrics. Written by the loop's thread only."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field, fields

from engines.messages import Tally

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_STEP_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
GUARDS = ("segment_too_long",)  # counted from 0, so that the first one is seen as a rise


class Tallying:
    """How often a value fell at or below each of some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def taken(self) -> Tally:
        return Tally(bounds=self._bounds, counts=tuple(self._counts), sum=self._sum)


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
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    guards: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(GUARDS, 0)))
    batch_rows: Tallying = field(default_factory=lambda: Tallying(_ROWS))  # of a call of the LM
    lm_step_s: Tallying = field(default_factory=lambda: Tallying(_STEP_S))
    draft_step_s: Tallying = field(default_factory=lambda: Tallying(_STEP_S))  # a step with drafts, guessing included
    vocoder_step_s: Tallying = field(default_factory=lambda: Tallying(_STEP_S))

    def copy(self) -> Counters:
        return deepcopy(self)

    def restore(self, before: Counters) -> None:
        """What happened since, a rehearsal, is not counted."""
        for one in fields(self):
            setattr(self, one.name, getattr(before, one.name))

    def tallies(self) -> dict[str, Tally]:
        names = ("batch_rows", "lm_step_s", "draft_step_s", "vocoder_step_s")
        return {name: getattr(self, name).taken() for name in names}

    def named(self) -> dict[str, int]:
        """Counts by metric name."""
        names = (
            "frames",
            "lm_rows",
            "lm_idle_rows",
            "vocoder_rows",
            "drafts_proposed",
            "drafts_accepted",
            "drafts_tolerated",
            "draft_faults",
            "late_chunks",
            "finished",
            "cancelled",
            "failed",
        )
        return {name: getattr(self, name) for name in names} | {
            f"guard_{name}": count for name, count in self.guards.items()
        }
