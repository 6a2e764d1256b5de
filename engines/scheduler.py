"""Who runs next. Pure functions over counts and times; never an array, never a wait.

First audio of admitted sequences comes before everything, then whoever has least lead. Idle capacity works ahead, and
is what those get who stand back: their lead counts as endless.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import NamedTuple

LADDER = (1, 2, 4, 8)  # codes a chunk
SATED_CODES = 2 * LADDER[-1]  # that wait for the vocoder: its next job of a sequence, and one behind it
NO_AUDIO = float("-inf")  # the lead of a stream that has not sounded
COMFORTABLE_S = 5.0  # a lead with which nothing is owed for a while, however long the text
URGENT_S = 0.12  # a lead that a step of everybody, a vocoder job and the way out could use up
MAX_GAP = 3  # a call of the LM costs 0.27 ms, a row in it 0.05 to 0.1 ms (one AVX-512 core)
WORDS_GAP_S = 0.04  # words that follow each other faster are about to bring the next code
THRONG = 48  # running sequences from which on a stream begins with more: the machine has no time left


class Row(NamedTuple):
    """What the scheduler knows of a sequence."""

    slot: int
    lead_s: float  # -inf before its first chunk's codes, inf when it stands back
    arrived_s: float
    pending: int = 0  # codes that wait for the vocoder

    @property
    def urgency(self) -> tuple[float, float]:
        return self.lead_s, self.arrived_s


def is_urgent(lead_s: float) -> bool:
    """Without audio yet, or about to run dry."""
    return lead_s < URGENT_S


def is_sated(row: Row) -> bool:
    """Whether the vocoder is so far behind the LM that more codes would only wait."""
    return row.pending >= SATED_CODES


def worth_decoding(ready: Items[Row], *, low_water_s: float, lead_cap_s: float) -> list[Row]:
    """The rows that the next calls of the LM are for: of those that are not sated.

    While somebody waits for first audio it is for them and for whoever is about to run dry; while somebody is below
    the low water, who has more than the lead cap waits. With neither, all work ahead.
    """
    ready = [row for row in ready if not is_sated(row)]
    if any(row.lead_s == NO_AUDIO for row in ready):
        return [row for row in ready if is_urgent(row.lead_s)]
    if any(row.lead_s < low_water_s for row in ready):
        return [row for row in ready if row.lead_s < lead_cap_s]
    return ready


def batch_runs(ready: Items[Row], max_batch: int) -> list[tuple[int, int]]:
    """Ranges of slots [first, last) to step, disjoint, of `max_batch` rows in all; one call of the LM each.

    Neighbours are joined over small gaps, whose rows are computed for nothing. The ranges with the most urgent rows go
    first; when not all fit, of the last one the part around its most urgent row with the least lead in it.

        slots   0 1 . 3 . . . . . . 10 .  12        . = not wanted
        runs   [0       4)         [10      13)     a gap of up to MAX_GAP costs less than another call
    """
    runs: list[list[Row]] = []
    for row in sorted(ready, key=lambda one: one.slot):
        if runs and row.slot - runs[-1][-1].slot - 1 <= MAX_GAP:
            runs[-1].append(row)
        else:
            runs.append([row])
    chosen, left = [], max_batch
    for run in sorted(runs, key=lambda rows: min(row.urgency for row in rows)):
        if left <= 0:
            break
        first, last = _most_urgent_part(run, left)
        chosen.append((first, last))
        left -= last - first + MAX_GAP  # another call costs as much as a few rows
    return chosen


def _most_urgent_part(run: list[Row], most: int) -> tuple[int, int]:
    """A range of at most `most` slots of a run (which may have gaps), its most urgent row inside."""
    if run[-1].slot + 1 - run[0].slot <= most:
        return run[0].slot, run[-1].slot + 1
    urgent = min(range(len(run)), key=lambda index: run[index].urgency)
    # Who has sounded and who has not are both worth having; a long lead is worth little.
    worths = [1.0 / (1.0 + max(0.0, row.lead_s)) for row in run]
    best: tuple[float, int, int] | None = None
    last = 0
    for first in range(urgent + 1):
        last = max(last, first)
        while last + 1 < len(run) and run[last + 1].slot - run[first].slot < most:
            last += 1
        if last < urgent:
            continue
        worth = sum(worths[first : last + 1])
        if best is None or worth > best[0]:
            best = (worth, run[first].slot, run[last].slot + 1)
    assert best is not None, "the part from the most urgent row on always holds it"
    return best[1], best[2]


def first_chunk(running: int) -> int:
    """Codes of the chunk with which a stream begins, or goes on once its text had run out, beside so many others.

    Codes of the opening quiet are not counted. Never one alone where there may be two: its 18 ms after overlap are
    played before the next chunk can be relied on.
    """
    return 2 if running < THRONG else 4


def chunk_codes(pending: int, lead_s: float, *, first: int | None, no_more: bool) -> int:
    """How many of `pending` codes to vocode now, 0 to wait for more. Larger chunks cost less; lead buys patience.
    `first`: of the chunk with which a stream begins, its opening quiet included; None once it has begun."""
    if pending == 0:
        return 0
    if first is not None:
        return min(pending, LADDER[-1]) if pending >= min(first, LADDER[-1]) or no_more else 0
    if is_urgent(lead_s):
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
