"""Who runs next. Pure functions over counts and times; never an array, never a wait.

First audio of admitted sequences comes before everything, then whoever has least lead. Idle capacity works ahead.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

LADDER = (1, 2, 4, 8)  # codes a chunk
CROWD = 4  # from so many running sequences on, a first chunk of one code would run dry before the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the scheduler knows of a sequence."""

    slot: int
    lead_s: float  # -inf before its first audio
    arrived_s: float

    @property
    def urgency(self) -> tuple[float, float]:
        return self.lead_s, self.arrived_s


def batch_range(ready: Items[Row], max_batch: int) -> tuple[int, int] | None:
    """The range of slots [first, last) to step: the most urgent row's group of `max_batch` neighbours, trimmed."""
    if not ready:
        return None
    most_urgent = min(ready, key=lambda row: row.urgency)
    group = most_urgent.slot // max_batch
    slots = [row.slot for row in ready if row.slot // max_batch == group]
    return min(slots), max(slots) + 1


def chunk_codes(pending: int, emitted: int, lead_s: float, *, running: int, no_more: bool) -> int:
    """How many of `pending` codes to vocode now, 0 to wait for more. Larger chunks cost less; lead buys patience."""
    if pending == 0:
        return 0
    if emitted == 0:
        wanted = 1 if running < CROWD else 2
    elif lead_s < 0.12:
        wanted = 1
    elif lead_s < 0.3:
        wanted = 2
    elif lead_s < 0.8:
        wanted = 4
    else:
        wanted = LADDER[-1]
    if pending < wanted and not no_more:
        return 0
    return max(size for size in LADDER if size <= pending)
