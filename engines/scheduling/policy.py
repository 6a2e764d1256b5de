"""What runs next: `plan(view, now)` says which slots are prefilled, stepped and vocoded, in order. Pure functions over
counts and times; never an array, never a wait.

First audio comes before everything, then the least lead. Idle capacity works ahead. A plan holds as many calls of the
speech model as fit a slice of time; a new stream waits for the end of the current one only, since the engine drops the
rest of a plan when an urgent stream can run.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Collection
from collections.abc import Sequence as Items
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from engines.scheduling.device_profile import DeviceProfile

NO_AUDIO = float("-inf")  # the lead of a stream that has not sounded
_BEGINNING = 4  # streams whose first chunks one item makes, so that the next new stream does not wait for long


class Stream(Protocol):
    """What a plan sees of a sequence."""

    slot: int | None
    arrived_s: float
    made: int  # frames
    vocoded: int  # of them, handed to the vocoder
    quiet_frames: int  # at the start, without an audible window
    stands_back: bool

    @property
    def can_prefill(self) -> bool: ...
    @property
    def can_step(self) -> bool: ...
    @property
    def can_vocode(self) -> bool: ...
    @property
    def sounds(self) -> bool: ...
    @property
    def pending(self) -> int: ...
    @property
    def available(self) -> int: ...
    @property
    def closes(self) -> bool: ...
    def begins(self, now: float) -> bool: ...
    def plays_for_s(self, now: float) -> float: ...
    def spare_s(self, now: float, frames: int) -> float: ...
    def words_expected_s(self, now: float) -> float: ...


AnyStream = TypeVar("AnyStream", bound=Stream)


@dataclass(frozen=True, slots=True)
class Marks:
    """Leads and times at which decisions change, all of them in frames: what a frame holds is what is scheduled."""

    slice_s: float  # of calls that are planned at once
    words_gap_s: float  # words that follow each other faster are about to bring the next frame
    urgent_s: float  # a lead that a step of all rows, a vocoder job and the way out could use up
    low_water_s: float  # while a stream has less, those far ahead wait
    far_ahead_s: float
    chunk_leads_s: tuple[float, float, float]  # below which a chunk has the first, second or third size
    fresh_s: float  # a stream that has just been submitted counts as speaking
    comfortable_s: float  # a lead with which nothing is owed for a while, however long the text

    @classmethod
    def of(cls, frame_s: float) -> Marks:
        return cls(
            slice_s=0.5 * frame_s,
            words_gap_s=frame_s,
            urgent_s=3 * frame_s,
            low_water_s=12 * frame_s,
            far_ahead_s=50 * frame_s,
            chunk_leads_s=(3 * frame_s, 8 * frame_s, 20 * frame_s),
            fresh_s=50 * frame_s,
            comfortable_s=125 * frame_s,
        )

    def is_urgent(self, lead_s: float) -> bool:
        """Without audio yet, or about to run dry."""
        return lead_s < self.urgent_s


@dataclass(frozen=True, slots=True, kw_only=True)
class View(Generic[AnyStream]):
    """All that a plan depends on, besides the time."""

    streams: Collection[AnyStream]
    profile: DeviceProfile
    marks: Marks
    chunk_frames: tuple[int, ...]  # sizes of vocoder jobs, rising
    first_chunk: int  # frames, beyond those of the opening quiet, with which a stream begins, or begins again
    max_batch: int  # rows of a call
    job_frames: int  # rows x frames of a vocoder job
    groups: Callable[[Items[int], Items[int], int], list[list[int]]]  # see `Talker.groups`
    drafts: tuple[bool, ...] = ()  # whether drafts pay for 1, 2, ... rows; no more are drafted
    verify_rows: int = 1  # that one call verifies
    has_room: bool = True  # the vocoder takes another job
    has_urgent_room: bool = True  # the vocoder takes an urgent one

    @property
    def most_pending(self) -> int:
        """Frames that wait for the vocoder: its next job of a stream, and one behind it."""
        return 2 * self.chunk_frames[-1]


@dataclass(frozen=True, slots=True)
class Prefill(Generic[AnyStream]):
    streams: list[AnyStream]


@dataclass(frozen=True, slots=True)
class Step(Generic[AnyStream]):
    """One decode step of each stream; of those that have begun further ones at once, until they have made this many
    frames beyond their opening quiet: a round between two of them would cost more than a step."""

    streams: list[AnyStream]
    first_chunk: int
    drafts: bool | None = None  # verify drafts, or measure the plain way beside it; None: too many rows to think of it


@dataclass(frozen=True, slots=True)
class Vocode(Generic[AnyStream]):
    streams: list[AnyStream]
    frames: int  # of each
    urgent: bool
    next_lead_s: float | None = None  # the least lead of those that are due and do not come with it


def plan(view: View[AnyStream], now: float) -> list[Prefill[AnyStream] | Step[AnyStream] | Vocode[AnyStream]]:
    """A vocoder job, then prefills, then steps."""
    job, _ = vocode(view, now)
    return [*([job] if job is not None else []), *calls(view, now)]


# -- the speech model ------------------------------------------------------------------------------------------------


def calls(view: View[AnyStream], now: float) -> list[Prefill[AnyStream] | Step[AnyStream]]:
    prompts = sorted((one for one in view.streams if one.can_prefill), key=lambda one: urgency(view, one, now))
    found: list[Prefill[AnyStream] | Step[AnyStream]] = [
        Prefill(prompts[at : at + _BEGINNING]) for at in range(0, len(prompts), _BEGINNING)
    ]
    steppable = [
        (urgency(view, one, now), one) for one in view.streams if one.can_step and one.pending < view.most_pending
    ]
    wanted = sorted(_worth_stepping(view, steppable), key=lambda item: item[0])
    first = view.first_chunk
    new = [one for (lead_s, _, _), one in wanted if lead_s == NO_AUDIO]
    others = [one for (lead_s, _, _), one in wanted if lead_s != NO_AUDIO]
    if len(wanted) <= len(view.drafts):
        alone = bool(view.drafts) and view.drafts[0]
        most = view.verify_rows if alone else len(new)
        batches = [new[at : at + most] for at in range(0, len(new), most or 1)]
        found += [Step(batch, first, alone) for batch in batches if batch]
        return found + ([Step(others, first, view.drafts[len(others) - 1])] if others else [])
    most = max(_BEGINNING, view.verify_rows)  # a device's call costs the same for all of them
    found += [Step(new[at : at + most], first) for at in range(0, len(new), most)]
    return found + [Step(group, first) for group in _groups(view, others, [one for _, one in steppable])]


def urgency(view: View[AnyStream], stream: AnyStream, now: float) -> tuple[float, float, int]:
    """(lead at the speech model, arrival, slot), the most urgent least."""
    lead_s = stream.spare_s(now, stream.made)
    if lead_s == NO_AUDIO and stream.made >= stream.quiet_frames + view.first_chunk:
        lead_s = stream.made * view.profile.frame_s  # its first chunk waits for the vocoder, not for more frames
    return lead_s, stream.arrived_s, stream.slot or 0


Urgent = tuple[tuple[float, float, int], AnyStream]


def _worth_stepping(view: View[AnyStream], ready: list[Urgent[AnyStream]]) -> list[Urgent[AnyStream]]:
    """While first audio waits, only those and streams about to run dry; while one is below the low water, those far
    ahead wait. With neither, all work ahead."""
    leads_s = [item[0][0] for item in ready]
    least_s = min(leads_s, default=math.inf)
    if least_s == NO_AUDIO:
        limit_s = view.marks.urgent_s
    else:
        limit_s = view.marks.far_ahead_s if least_s < view.marks.low_water_s else math.inf
    return [item for item, lead_s in zip(ready, leads_s, strict=True) if lead_s < limit_s or limit_s == math.inf]


def _groups(view: View[AnyStream], wanted: list[AnyStream], able: list[AnyStream]) -> list[list[AnyStream]]:
    """Calls of efficient size, the most urgent first, as many as a slice of time allows.

    Where an efficient batch and more are wanted, calls are for blocks of neighbours with a wanted one in each: others
    able to step fill a batch better than a range with gaps, and the next slice is for the other blocks.
    """
    if not wanted:
        return []
    most = view.profile.rows_within(view.marks.slice_s, view.max_batch)
    enough = min(most, view.profile.efficient_rows(view.max_batch))
    by_slot = {one.slot: one for one in able if one.slot is not None}
    rank = {one.slot: place for place, one in enumerate(wanted)}
    slots = list(by_slot) if len(wanted) > enough else [one.slot for one in wanted if one.slot is not None]
    parts = list[list[int]]()
    for group in view.groups(slots, list(by_slot), view.profile.rows_of_a_call()):
        count = max(1, round(len(group) / enough))
        ends = [at * len(group) // count for at in range(count + 1)]
        parts += [group[first:last] for first, last in pairwise(ends)]
    last = len(rank)
    urgent = sorted((min(rank.get(slot, last) for slot in part), part) for part in parts)
    found, rows = list[list[AnyStream]](), 0
    for place, part in urgent:
        if place == last or (found and rows + len(part) > most):
            break
        found.append([by_slot[slot] for slot in part])
        rows += len(part)
    return found


# -- the vocoder -----------------------------------------------------------------------------------------------------


def vocode(view: View[AnyStream], now: float) -> tuple[Vocode[AnyStream] | None, float]:
    """The next job, and when to look again should nothing change until then.

    The most urgent stream whose chunk is large enough for its lead goes first, with those of as many frames; a stream
    that can wait never goes with an urgent one, since every row makes the job longer.
    """
    look_again_s, due = math.inf, list[tuple[tuple[float, float, int], int, AnyStream]]()
    if not view.has_urgent_room:
        return None, look_again_s
    for stream in view.streams:
        if not stream.can_vocode or not ((available := stream.available) or stream.closes):
            continue
        if available < view.first_chunk and stream.can_step and not stream.closes:
            continue  # whatever its lead, no chunk is that small
        lead_s = stream.spare_s(now, stream.vocoded)
        if not view.has_room and not (view.marks.is_urgent(lead_s) and view.marks.is_urgent(stream.plays_for_s(now))):
            continue
        count = chunk_frames(view, stream, available, lead_s, now, no_more=stream.closes)
        if not count and available and not (stream.can_step or stream.can_prefill):
            if (expected_s := stream.words_expected_s(now)) > 0:
                look_again_s = min(look_again_s, now + expected_s)
            else:
                count = chunk_frames(view, stream, available, lead_s, now, no_more=True)
        if count or not available:
            due.append(((lead_s, stream.arrived_s, stream.slot or 0), count, stream))
    if not due:
        return None, look_again_s
    due.sort(key=lambda item: item[0])
    (least_s, _, _), frames, _ = due[0]
    urgent = view.marks.is_urgent(least_s)
    fits = [item[1] == frames and view.marks.is_urgent(item[0][0]) == urgent for item in due]
    rows = max(1, view.job_frames // max(1, frames))
    chosen = [item[2] for item, fit in zip(due, fits, strict=True) if fit][:rows]
    left_s = next((item[0][0] for item in due if item[2] not in chosen), None)
    return Vocode(chosen, frames, urgent, left_s), look_again_s


def chunk_frames(
    view: View[AnyStream], stream: AnyStream, available: int, lead_s: float, now: float, *, no_more: bool
) -> int:
    """How many of the available frames to vocode now, 0 to wait for more. Larger chunks cost less; lead buys
    patience. None is smaller than a first one, which grows with the load: where all leads are small, small chunks would
    keep them so."""
    sizes = view.chunk_frames
    if available == 0:
        return 0
    if stream.begins(now):
        first = min(max(0, stream.quiet_frames - stream.vocoded) + view.first_chunk, sizes[-1])
        if available < first and not no_more:
            return 0
        most = min(available, sizes[-1])
        return most if stream.closes and most == available else most // sizes[0] * sizes[0]
    wanted = max(view.first_chunk, sizes[min(bisect_right(view.marks.chunk_leads_s, lead_s), len(sizes) - 1)])
    if available < wanted and not no_more:
        return 0
    return max((size for size in sizes if size <= available), default=available if stream.closes else 0)
