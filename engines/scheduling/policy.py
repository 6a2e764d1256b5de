"""What runs next: `calls(view, now)` says which streams are prefilled and stepped, in order, `vocode(view, now)` what
the vocoder gets. Pure functions over the streams' counts and times; never an array, never a wait.

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

from engines.config import EngineConfig
from engines.scheduling.device_profile import DeviceProfile
from engines.sequence import NO_AUDIO, Sequence

# Leads at which decisions change, in frames: what a frame holds is what is scheduled.
URGENT = 3  # a lead that a step of all rows, a vocoder job and the way out could use up
LOW_WATER = 12  # while a stream has less, those far ahead wait
FAR_AHEAD = 50
_CHUNK_LEADS = (3, 8, 20)  # below which a chunk has the first, second or third size
_SLICE = 0.5  # of a frame's time: of calls that are planned at once

Urgency = tuple[float, float, int]  # lead, arrival, slot: the most urgent is the least


@dataclass(slots=True, kw_only=True)
class View:
    """All that a plan depends on, besides the time."""

    streams: Collection[Sequence]
    profile: DeviceProfile
    chunk_frames: tuple[int, ...]  # sizes of vocoder jobs, rising
    first_chunk: int  # frames, beyond those of the opening quiet, with which a stream begins, or begins again
    config: EngineConfig  # for the sizes of calls and jobs
    groups: Callable[[Items[int], Items[int], int], list[list[int]]]  # see `Talker.groups`
    drafts: tuple[bool, ...] = ()  # whether drafts pay for 1, 2, ... rows; no more are drafted
    has_room: bool = True  # the vocoder takes another job; without, only an urgent one

    def is_urgent(self, lead_s: float) -> bool:
        """Without audio yet, or about to run dry."""
        return lead_s < URGENT * self.profile.frame_s


@dataclass(frozen=True, slots=True)
class Prefill:
    streams: list[Sequence]


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step of each stream; of those that have begun further ones at once, until they have made this many
    frames beyond their opening quiet: a round between two of them would cost more than a step."""

    streams: list[Sequence]
    first_chunk: int
    drafts: bool | None = None  # verify drafts, or measure the plain way beside it; None: too many rows to think of it
    ahead: bool = False  # the next step may be launched before this one is read: no first audio and no prompt waits


@dataclass(frozen=True, slots=True)
class Vocode:
    streams: list[Sequence]
    frames: int  # of each
    urgent: bool


# -- the speech model ------------------------------------------------------------------------------------------------


def calls(view: View, now: float) -> list[Prefill | Step]:
    most = 2 * view.chunk_frames[-1]  # frames of a stream that wait: its next job of the vocoder, and one behind it
    able = sorted((_urgency(view, one, now), one) for one in view.streams if one.can_step and one.pending < most)
    prompts = sorted((_urgency(view, one, now), one) for one in view.streams if one.can_prefill)
    limit_s, first, few = _limit_s(view, able), view.first_chunk, view.profile.few_rows
    new = [one for (lead_s, *_), one in able if lead_s == NO_AUDIO]
    others = [one for (lead_s, *_), one in able if NO_AUDIO < lead_s <= limit_s]
    found: list[Prefill | Step] = [Prefill(some) for some in _cut([one for _, one in prompts], few)]
    if len(new) + len(others) > len(view.drafts):
        found += [Step(some, first) for some in _cut(new, max(few, view.config.verify_rows))]
        return found + [Step(some, first, ahead=not found) for some in _groups(view, others, [one for _, one in able])]
    if new:
        most = view.config.verify_rows if view.drafts[0] else len(new)
        found += [Step(some, first, view.drafts[0]) for some in _cut(new, most)]
    return found + ([Step(others, first, view.drafts[len(others) - 1], not found)] if others else [])


def _urgency(view: View, stream: Sequence, now: float) -> Urgency:
    """At the speech model."""
    lead_s = stream.spare_s(now, stream.made)
    if lead_s == NO_AUDIO and stream.made >= stream.quiet_frames + view.first_chunk:
        lead_s = stream.made * view.profile.frame_s  # its first chunk waits for the vocoder, not for more frames
    return lead_s, stream.arrived_s, stream.slot or 0


def _limit_s(view: View, able: list[tuple[Urgency, Sequence]]) -> float:
    """Up to which lead streams are stepped. While first audio waits, here or in the vocoder, only those about to run
    dry, since it would come back in the middle of a call. While one is below the low water, none far ahead."""
    least_s = able[0][0][0] if able else math.inf
    if least_s == NO_AUDIO or any(one.in_vocoder and not (one.sounds or one.stands_back) for one in view.streams):
        return URGENT * view.profile.frame_s
    return (FAR_AHEAD if least_s < LOW_WATER * view.profile.frame_s else math.inf) * view.profile.frame_s


def _cut(streams: list[Sequence], most: int) -> list[list[Sequence]]:
    return [streams[at : at + most] for at in range(0, len(streams), most)]


def _groups(view: View, wanted: list[Sequence], able: list[Sequence]) -> list[list[Sequence]]:
    """Calls of efficient size, the most urgent first, as many as a slice of time allows.

    Where an efficient batch and more are wanted, calls are for blocks of neighbours with a wanted one in each: others
    able to step fill a batch better than a range with gaps, and the next slice is for the other blocks.
    """
    if not wanted:
        return []
    most = view.profile.rows_within(_SLICE * view.profile.frame_s)
    enough = min(most, view.profile.efficient_rows)
    by_slot = {one.slot: one for one in able if one.slot is not None}
    rank = {one.slot: place for place, one in enumerate(wanted)}
    slots = list(by_slot) if len(wanted) > enough else [one.slot for one in wanted if one.slot is not None]
    parts = list[list[int]]()
    for group in view.groups(slots, list(by_slot), view.profile.rows_of_a_call()):
        count = max(1, round(len(group) / enough))
        parts += [group[first:last] for first, last in pairwise(at * len(group) // count for at in range(count + 1))]
    last = len(rank)
    urgent = sorted((min(rank.get(slot, last) for slot in part), part) for part in parts)
    found, rows = list[list[Sequence]](), 0
    for place, part in urgent:
        if place == last or (found and rows + len(part) > most):
            break
        found.append([by_slot[slot] for slot in part])
        rows += len(part)
    return found


# -- the vocoder -----------------------------------------------------------------------------------------------------


def vocode(view: View, now: float) -> tuple[Vocode | None, float]:
    """The next job, and when to look again should nothing change until then.

    The most urgent stream whose chunk is large enough for its lead goes first, with those of as many frames; a stream
    that can wait never goes with an urgent one, since every row makes the job longer.
    """
    look_again_s, due = math.inf, list[tuple[Urgency, int, Sequence]]()
    for stream in view.streams:
        if not view.has_room and not view.is_urgent(stream.plays_for_s(now)):
            continue
        if not stream.can_vocode or not ((available := stream.available) or stream.closes):
            continue
        if available < view.first_chunk and not stream.closes and stream.can_step:
            continue  # whatever its lead, no chunk is that small
        lead_s = stream.spare_s(now, stream.vocoded)
        if not view.has_room and not view.is_urgent(lead_s):
            continue
        count = chunk_frames(view, stream, available, lead_s, now, no_more=stream.closes)
        if available and not (count or stream.can_step or stream.can_prefill):
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
    urgent = view.is_urgent(least_s)
    fit = [one for (lead_s, *_), count, one in due if count == frames and view.is_urgent(lead_s) == urgent]
    return Vocode(fit[: max(1, view.config.job_frames // max(1, frames))], frames, urgent), look_again_s


def chunk_frames(view: View, stream: Sequence, available: int, lead_s: float, now: float, *, no_more: bool) -> int:
    """How many of the available frames to vocode now, 0 to wait for more. Larger chunks cost less; lead buys
    patience. None is smaller than a first one, which grows with the load: where all leads are small, small chunks would
    keep them so."""
    sizes, begins = view.chunk_frames, stream.begins(now)
    if begins:
        wanted = min(max(0, stream.quiet_frames - stream.vocoded) + view.first_chunk, sizes[-1])
    else:
        patience = bisect_right(_CHUNK_LEADS, lead_s / view.profile.frame_s)
        wanted = max(view.first_chunk, sizes[min(patience, len(sizes) - 1)])
    if not available or (available < wanted and not no_more):
        return 0
    if not begins:
        return max((size for size in sizes if size <= available), default=available if stream.closes else 0)
    most = min(available, sizes[-1])
    return most if stream.closes and most == available else most // sizes[0] * sizes[0]
