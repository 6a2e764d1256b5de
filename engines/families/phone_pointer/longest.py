"""Where a segment ends that would last longer than those the speech model was trained on.

    steps   0                  half          word     max_steps
            |-------------------|--------------|------------|
            goes on             ends before a  ends before  ends, even inside a word
                                break that     a word
                                does not fit

Known with the last step's inputs, so it is the same however the text arrived.
"""

from __future__ import annotations

from typing import NamedTuple

from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.segmenter import Segment

_WORD = 20  # its share of the longest segment: 1.5 s of 30


class Cut(NamedTuple):
    steps: int  # that the segment has
    phone: int  # with which the next one begins


class Longest:
    def __init__(self, bundle: Bundle) -> None:
        self.steps, self._frame_hops, self._hop_s = bundle.adapter.max_steps, bundle.frames_per_code, bundle.hop_s
        self._word_from = self.steps - self.steps // _WORD

    def cut(self, segment: Segment, first: int) -> Cut | None:
        """Where the segment must end, if at one of its planned steps from `first` on."""
        for step in range(max(first, self.steps // 2), min(len(segment.rows), self.steps)):
            following = segment.pointers[step] + 1
            if step + 1 == self.steps or self._may_end(segment, step + 1, following):
                return Cut(step + 1, following)
        return None

    def _may_end(self, segment: Segment, steps: int, following: int) -> bool:
        """Whether nothing is cut off and what follows is better begun anew."""
        end = segment.ends[following - 1]
        if following == len(segment.phones) or end > steps * self._frame_hops + self._frame_hops // 2:
            return False
        if segment.phones[following].hold_s is None:
            return steps >= self._word_from and segment.phones[following].starts_word
        left_s = self.steps * self._frame_hops * self._hop_s - end * self._hop_s
        opens = following > 1 and segment.phones[following - 1].hold_s is None
        return opens and sum(phone.hold_s or 0.0 for phone in segment.phones[following:]) > left_s
