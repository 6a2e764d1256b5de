"""When each phone of a segment is spoken, in hops (10 ms for the shipped voice), planned before the LM speaks.

    hop       0   1   2   3 | 4   5   6   7 | 8   9  10  11      steps of 4 hops, one code each
    phone     pau     h             ay                  pau
    ends      2       5                     10

At each step the phone under its middle is being spoken. A phone's duration is a function of the phones around it
inside the look-ahead, so the plan is the same however the text arrived: it only grows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import Durations
from engines.families.phone_pointer.segmenter import Segment
from engines.text import MAX_RATE, MIN_RATE, Phone


class Place(NamedTuple):
    """Where a sequence is between two steps of one segment."""

    step: int
    pointer: int  # the phone being spoken


def place_at(bundle: Bundle, segment: Segment, step: int, start: int) -> Place | None:
    """None where the segment is at its end, or its plan or look-ahead does not reach yet.

    `start` is a phone that is not behind the pointer.
    """
    middle = step * bundle.frames_per_code + bundle.frames_per_code // 2
    ends, pointer = segment.ends, start
    while pointer < len(ends) and ends[pointer] <= middle:
        pointer += 1
    if pointer == len(ends):
        if step or not segment.closed:
            return None
        pointer -= 1  # shorter than half a step: it has one all the same
    if not segment.closed and len(segment.phones) <= pointer + bundle.adapter.look_ahead_phones:
        return None
    return Place(step, pointer)


class Planner:
    """Writes `Segment.ends`, no further than is asked for: first audio does not wait for a whole plan.

    Phones go through the network in calls of one size, whose rows do not see one another.
    """

    def __init__(self, bundle: Bundle, network: Durations) -> None:
        self._durations, self._network, self._hop_s = bundle.durations, network, bundle.hop_s

    def extend(self, segment: Segment, speaker: int, stretch: float, hop: float = math.inf) -> None:
        """Plans until a phone begins and ends behind `hop`, or every phone is planned whose window is known by now."""
        durations, phones, ends = self._durations, segment.phones, segment.ends
        known = len(phones) if segment.closed else len(phones) - durations.window[-1]
        if known > 0 and not ends:
            ends.append(durations.opening_hops)
        if len(ends) >= known or _reaches(ends, hop):
            return
        features, rows = self._network.features, self._network.rows
        while len(ends) < known and not _reaches(ends, hop):
            first = len(ends)
            count = min(rows, known - first)
            for row in range(count):
                features[row] = self._row(segment, first + row, speaker)
                rate = phones[first + row].rate
                self._network.stretch[row] = math.log(stretch if rate == 1.0 else _within(stretch / rate))
            for phone, hops in zip(phones[first:], self._network.plan()[:count].tolist(), strict=False):
                ends.append(ends[-1] + self._held(phone, hops))

    def _held(self, phone: Phone, hops: int) -> int:
        """A pause lasts as long as the text says, where it does."""
        return max(1, hops if phone.hold_s is None else round(phone.hold_s / self._hop_s))

    def _row(self, segment: Segment, at: int, speaker: int) -> list[int]:
        durations, phones = self._durations, segment.phones
        ids, pauses = [], []
        for place, shift in enumerate(durations.window):
            phone = phones[at + shift] if 0 <= at + shift < len(phones) else None
            ids.append(durations.phones + place * durations.num_phone_ids + (phone.id if phone else 0))
            kind = int(phone.pause) if phone and phone.pause else 0
            pauses.append(durations.pauses + place * durations.num_pause_types + kind)
        return [*ids, *pauses, durations.speaker + speaker]


def _within(stretch: float) -> float:
    """What durations were trained on."""
    return min(max(stretch, 1 / MAX_RATE), 1 / MIN_RATE)


def _reaches(ends: list[int], hop: float) -> bool:
    """Whether the phone under `hop` is planned and the one after it, whose duration the LM sees too."""
    return len(ends) > 1 and ends[-2] > hop
