"""When each phone of a segment is spoken, in hops (10 ms for the shipped voice), planned before the LM speaks.

A phone's duration is a function of the phones around it inside the look-ahead, so the plan is the same however the text
arrived: it only grows.
"""

from __future__ import annotations

import math

import numpy as np

from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import Durations
from engines.families.phone_pointer.segmenter import Segment
from engines.text import MAX_RATE, MIN_RATE, Phone


class Planner:
    """Writes `Segment.ends`, no further than is asked for: first audio does not wait for a whole plan.

    Phones go through the network in calls of one size, whose rows do not see one another.
    """

    def __init__(self, bundle: Bundle, network: Durations) -> None:
        durations = bundle.durations
        self._network, self._hop_s, self._opening_hops = network, bundle.hop_s, durations.opening_hops
        width, self._first, self._last = len(durations.window), durations.window[0], durations.window[-1]
        self._windows = np.arange(network.rows)[:, None] + np.array(durations.window) - self._first
        self._phones = durations.phones + durations.num_phone_ids * np.arange(width)
        self._pauses = durations.pauses + durations.num_pause_types * np.arange(width)
        self._speaker = durations.speaker

    def extend(self, segment: Segment, speaker: int, stretch: float, hop: float = math.inf) -> bool:
        """Plans until a phone begins and ends behind `hop`, or every phone is planned whose window is known by now.
        Returns whether there is more to plan without more text."""
        phones, ends, network = segment.phones, segment.ends, self._network
        known = len(phones) if segment.closed else len(phones) - self._last
        if known > 0 and not ends:
            ends.append(self._opening_hops)
        while len(ends) < known and not _reaches(ends, hop):
            first, count = len(ends), min(network.rows, known - len(ends))
            self._write(segment, first, count, speaker)
            network.stretch[:count] = [
                math.log(stretch if phone.rate == 1.0 else _within(stretch / phone.rate))
                for phone in phones[first : first + count]
            ]
            for phone, hops in zip(phones[first : first + count], network.plan().tolist(), strict=False):
                ends.append(ends[-1] + self._held(phone, hops))
        return len(ends) < known

    def _held(self, phone: Phone, hops: int) -> int:
        """A pause lasts as long as the text says, where it does."""
        return max(1, hops if phone.hold_s is None else round(phone.hold_s / self._hop_s))

    def _write(self, segment: Segment, first: int, count: int, speaker: int) -> None:
        """The rows of `count` phones from `first` on."""
        features, width = self._network.features[:count], len(self._phones)
        windows, begin, end = self._windows[:count], first + self._first, first + count + self._last
        features[:, :width] = segment.padded(segment.ids, begin, end)[windows] + self._phones
        features[:, width : 2 * width] = segment.padded(segment.kinds, begin, end)[windows] + self._pauses
        features[:, 2 * width] = self._speaker + speaker


def _within(stretch: float) -> float:
    """What durations were trained on."""
    return min(max(stretch, 1 / MAX_RATE), 1 / MIN_RATE)


def _reaches(ends: list[int], hop: float) -> bool:
    """Whether the phone under `hop` is planned and the one after it, whose duration the LM sees too."""
    return len(ends) > 1 and ends[-2] > hop
