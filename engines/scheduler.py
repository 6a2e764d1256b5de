"""Who runs next. Pure functions over counts and times; never an array, never a wait.

First audio of admitted sequences comes before everything, then whoever has least lead. Idle capacity works ahead.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from heapq import nsmallest

LADDER = (1, 2, 4, 8)  # codes a chunk
MAX_GAP = 3  # a call of the LM costs 0.27 ms, a row in it 0.05 to 0.1 ms (one AVX-512 core)
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


def batch_runs(ready: Items[Row], max_batch: int) -> list[tuple[int, int]]:
    """Ranges of slots [first, last) to step, disjoint and rising: the `max_batch` most urgent rows, joined over gaps.

    A range is one call of the LM, and rows inside it that nobody chose are computed for nothing.

        slots   0 1 . 3 . . . . . . 10 .  12        . = not wanted
        runs   [0       4)         [10      13)     a gap of up to MAX_GAP costs less than another call
    """
    chosen = sorted(row.slot for row in nsmallest(max_batch, ready, key=lambda row: row.urgency))
    runs: list[tuple[int, int]] = []
    for slot in chosen:
        if runs and slot - runs[-1][1] <= MAX_GAP and slot + 1 - runs[-1][0] <= max_batch:
            runs[-1] = (runs[-1][0], slot + 1)
        else:
            runs.append((slot, slot + 1))
    return runs


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
