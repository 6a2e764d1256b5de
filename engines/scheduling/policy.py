"""Who runs next. Pure functions over counts and times; never an array, never a wait.

First audio of admitted sequences comes before everything, then whoever has least lead. Idle capacity works ahead, and
is what those get who stand back: their lead counts as endless.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import NamedTuple

LADDER = (1, 2, 4, 8)  # codes a chunk
SATED_CODES = 2 * LADDER[-1]  # that wait for the vocoder: its next job of a sequence, and one behind it
NO_AUDIO = float("-inf")  # the lead of a stream that has not sounded


@dataclass(frozen=True, slots=True)
class Marks:
    """Leads and times at which decisions change, all of them in frames: what a frame holds is what is scheduled."""

    slice_s: float  # of LM calls that are planned at once
    words_gap_s: float  # words that follow each other faster are about to bring the next code
    urgent_s: float  # a lead that a step of all rows, a vocoder job and the way out could use up
    low_water_s: float  # while a stream has less, those above the lead cap wait
    lead_cap_s: float
    chunk_leads_s: tuple[float, float, float]  # below which a chunk has 1, 2 or 4 codes
    fresh_s: float  # a stream that has just been submitted counts as speaking
    comfortable_s: float  # a lead with which nothing is owed for a while, however long the text

    @classmethod
    def of(cls, frame_s: float) -> Marks:
        return cls(
            slice_s=0.15 * frame_s,
            words_gap_s=frame_s,
            urgent_s=3 * frame_s,
            low_water_s=12 * frame_s,
            lead_cap_s=50 * frame_s,
            chunk_leads_s=(3 * frame_s, 8 * frame_s, 20 * frame_s),
            fresh_s=50 * frame_s,
            comfortable_s=125 * frame_s,
        )

    def is_urgent(self, lead_s: float) -> bool:
        """Without audio yet, or about to run dry."""
        return lead_s < self.urgent_s


class Row(NamedTuple):
    """What the scheduler knows of a sequence."""

    slot: int
    lead_s: float  # -inf before its first chunk's codes, inf when it stands back
    arrived_s: float
    pending: int = 0  # codes that wait for the vocoder

    @property
    def urgency(self) -> tuple[float, float]:
        return self.lead_s, self.arrived_s


def is_sated(row: Row) -> bool:
    """Whether the vocoder is so far behind the LM that more codes would only wait."""
    return row.pending >= SATED_CODES


def worth_decoding(ready: Items[Row], marks: Marks) -> list[Row]:
    """The rows that the next calls of the LM are for: of those that are not sated.

    While somebody waits for first audio it is for them and for whoever is about to run dry; while somebody is below
    the low water, who has more than the lead cap waits. With neither, all work ahead.
    """
    ready = [row for row in ready if not is_sated(row)]
    if any(row.lead_s == NO_AUDIO for row in ready):
        return [row for row in ready if marks.is_urgent(row.lead_s)]
    if any(row.lead_s < marks.low_water_s for row in ready):
        return [row for row in ready if row.lead_s < marks.lead_cap_s]
    return ready


def batch_runs(ready: Items[Row], max_batch: int, max_gap: int) -> list[tuple[int, int]]:
    """Ranges of slots [first, last) to step, disjoint, of `max_batch` rows in all; one call of the LM each.

    Neighbours are joined over at most `max_gap` others, whose rows are computed for nothing but cost less than another
    call. The ranges with the most urgent rows go first; when not all fit, of the last one the part around its most
    urgent row with the least lead in it.

        slots   0 1 . 3 . . . . . . 10 .  12        . = not wanted
        runs   [0       4)         [10      13)     a gap of at most `max_gap`
    """
    runs: list[list[Row]] = []
    for row in sorted(ready, key=lambda one: one.slot):
        if runs and row.slot - runs[-1][-1].slot - 1 <= max_gap:
            runs[-1].append(row)
        else:
            runs.append([row])
    chosen, left = [], max_batch
    for run in sorted(runs, key=lambda rows: min(row.urgency for row in rows)):
        if left <= 0:
            break
        first, last = _most_urgent_part(run, left)
        chosen.append((first, last))
        left -= last - first + max_gap  # another call costs as much as a few rows
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


def first_chunk(*, crowded: bool) -> int:
    """Codes of the chunk with which a stream begins, or goes on once its text had run out. More of them where many
    streams run: the next chunk takes longer to come.

    Codes of the opening quiet are not counted. Never one alone where there may be two: its 18 ms after overlap are
    played before the next chunk can be relied on.
    """
    return 4 if crowded else 2


def chunk_codes(pending: int, lead_s: float, marks: Marks, *, first: int | None, no_more: bool) -> int:
    """How many of `pending` codes to vocode now, 0 to wait for more. Larger chunks cost less; lead buys patience.
    `first`: of the chunk with which a stream begins, its opening quiet included; None once it has begun."""
    if pending == 0:
        return 0
    if first is not None:
        return min(pending, LADDER[-1]) if pending >= min(first, LADDER[-1]) or no_more else 0
    wanted = LADDER[bisect_right(marks.chunk_leads_s, lead_s)]
    if pending < wanted and not no_more:
        return 0
    return max(size for size in LADDER if size <= pending)
