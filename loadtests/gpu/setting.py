"""Where and how large a step runs: the device, full or tiny shapes, and the time that is left of its box."""

from __future__ import annotations

import time
from dataclasses import dataclass


class Skipped(Exception):
    """A step has nothing to run here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    device: str  # "cuda" or "cpu"
    is_tiny: bool
    deadline_s: float  # on the clock of time.monotonic

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def seconds_left(self) -> float:
        return self.deadline_s - time.monotonic()

    def has_time(self, seconds: float) -> bool:
        """Whether a row that takes this long still fits: rows are dropped in order, not the step."""
        return self.seconds_left > seconds
