"""Cuts the phone stream into segments that the LM speaks in one context, never longer than it was trained on.

Where a segment ends depends on its phones alone: at the end of a sentence when it is long enough, at any pause when it
is longer, at a word when it must. Every segment begins and ends with a pause, as in training. One whose plan lasts too
long all the same is cut in two by `longest.py`.
"""

from __future__ import annotations

import numpy as np

from engines.runtime.base import IntArray
from engines.text import PauseType, Phone, pause

SENTENCE_PHONES = 60  # from here on a sentence's end closes the segment
PHRASE_PHONES = 200  # from here on any pause does
LONGEST_PHONES = 250  # at speed 1: some 25 s
FIRST_HOLD_S, HOLD_S = 0.2, 0.5  # parts of a longer pause


class Segment:
    """Phones known so far. `closed` says that no more will come."""

    __slots__ = ("closed", "counted", "ends", "ids", "kinds", "pauses", "phones", "pointers", "rows")

    def __init__(self, counted: int = 0) -> None:
        self.counted = counted  # phones, those of the segment that this one was cut from too
        self.phones: list[Phone] = []
        self.ids: list[int] = []  # of the phones
        self.kinds: list[int] = []  # the type of the pause that a phone is, or 0
        self.pauses: list[int] = []  # positions of pauses, rising
        self.ends: list[int] = []  # when each phone ends, in hops from the segment's beginning; see durations.py
        self.rows: list[IntArray] = []  # what the LM sees at each step; see inputs.py
        self.pointers: list[int] = []  # the phone being spoken at each of them
        self.closed = False

    def add(self, phone: Phone) -> None:
        if phone.pause is not None:
            self.pauses.append(len(self.phones))
        self.counted += 1
        self.phones.append(phone)
        self.ids.append(phone.id)
        self.kinds.append(0 if phone.pause is None else int(phone.pause))

    def cut(self, steps: int, at: int) -> None:
        """Ends it after `steps` planned steps and before its phone `at`."""
        for values in (self.phones, self.ids, self.kinds, self.ends):
            del values[at:]
        self.pauses = [position for position in self.pauses if position < at]
        del self.rows[steps:], self.pointers[steps:]
        self.closed = True

    def padded(self, values: list[int], first: int, last: int) -> IntArray:
        """Of phones first to last, 0 outside the segment."""
        inside = values[max(0, first) : max(0, last)]
        return np.array([*[0] * min(-first, last - first), *inside, *[0] * (last - max(0, first) - len(inside))])


class Segmenter:
    def __init__(self, speed: float) -> None:
        self._longest = int(LONGEST_PHONES * min(1.0, speed))
        self._open: Segment | None = None

    def feed(self, phones: list[Phone]) -> list[Segment]:
        """Returns the segments that these phones began, in order; they fill and close as more arrive."""
        begun: list[Segment] = []
        for phone in phones:
            if self._open is None:
                self._open = Segment()
                begun.append(self._open)
                if phone.pause is None or phone.hold_s is not None:
                    self._open.add(pause(PauseType.PLAIN, phone.start))
            segment = self._open
            if self._must_cut(segment, phone):
                segment.add(pause(PauseType.PLAIN, phone.start))
                segment.closed = True
                segment = self._open = Segment()
                begun.append(segment)
                segment.add(pause(PauseType.PLAIN, phone.start))
            for part in _held(phone):
                segment.add(part)
            if phone.pause is not None and len(segment.phones) > 1 and self._ends(segment, phone.pause):
                segment.closed = True
                self._open = None
        return begun

    def cut(self, segment: Segment, steps: int, at: int) -> Segment | None:
        """Ends the segment there. Returns one with the rest, if there is more of it to hear than a pause. It counts on,
        so that however late a cut is known, the same phones go into it."""
        rest = segment.phones[at:]
        if all(phone.pause is not None and phone.hold_s is None for phone in rest):
            segment.cut(steps, at)
            return None
        made = Segment(segment.counted - len(rest) - 1)
        for phone in (pause(PauseType.PLAIN, rest[0].start), *rest):
            made.add(phone)
        made.closed = segment.closed
        segment.cut(steps, at)
        if self._open is segment:
            self._open = made
        return made

    def close(self) -> None:
        """The text is flushed or at its end."""
        if self._open is not None:
            self._open.closed = True
            self._open = None

    def _ends(self, segment: Segment, kind: PauseType) -> bool:
        count = segment.counted
        if segment.phones[-1].hold_s is not None:  # what is behind it does not count towards the longest context
            return True
        return count >= PHRASE_PHONES or (count >= SENTENCE_PHONES and kind is not PauseType.PLAIN)

    def _must_cut(self, segment: Segment, phone: Phone) -> bool:
        return segment.counted >= self._longest * min(1.0, phone.rate) and phone.starts_word


def _held(phone: Phone) -> list[Phone]:
    """A pause longer than the model has heard is several in a row; it would hum in a single one."""
    if phone.hold_s is None or phone.pause is None:
        return [phone]
    rest, parts = phone.hold_s, list[Phone]()
    while rest > 0:
        part = min(rest, HOLD_S if parts else FIRST_HOLD_S)
        rest = round(rest - part, 3)
        parts.append(pause(phone.pause, phone.start, part))
    return parts
