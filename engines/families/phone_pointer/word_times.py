"""When words are spoken, from the phones of the steps made so far.

A word begins with its first phone and ends where the next word or a pause between words begins. The look-ahead holds
every phone that has begun, and its successor.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.held_silence import HeldPause
from engines.families.phone_pointer.segmenter import Segment
from engines.messages import WordTime


@dataclass(slots=True)
class _OpenWord:
    index: int
    start_char: int
    end_char: int
    start_hop: int


class WordClock:
    def __init__(self, bundle: Bundle) -> None:
        self._hop_s, self._frame_hops = bundle.hop_s, bundle.frames_per_code
        self._ended = deque[tuple[int, WordTime]]()  # (hop at which it ends, word)
        self._open: _OpenWord | None = None
        self.held = deque[HeldPause]()  # pauses of a given length, once they begin
        self._met = 0  # phones of this segment that have begun, but the first
        self._first_hop = self._made_hops = 0  # of this segment; of the utterance, in the steps made
        self._next_hop = 0  # of this segment: before it no other phone begins

    def step_made(self, segment: Segment, steps: int) -> None:
        """`steps` of this segment have been made."""
        hop = steps * self._frame_hops
        self._made_hops = self._first_hop + hop
        if hop < self._next_hop:
            return
        while self._met + 1 < len(segment.phones) and self._met < len(segment.ends) and segment.ends[self._met] <= hop:
            self._met += 1
            self._meet(segment, self._met)
        self._next_hop = segment.ends[self._met] if self._met < len(segment.ends) else 0

    def segment_ends(self, segment: Segment) -> None:
        while self._met + 1 < len(segment.phones):
            self._met += 1
            self._meet(segment, self._met)
        ends_in_pause = len(segment.ends) > 1 and segment.phones[-1].pause is not None
        self._end_word(self._first_hop + segment.ends[-2 if ends_in_pause else -1])
        self._met, self._first_hop, self._next_hop = 0, self._made_hops, 0

    def until(self, frames: int) -> tuple[WordTime, ...]:
        """Words that have ended within the first `frames` frames and were not taken before."""
        taken = []
        while self._ended and self._ended[0][0] <= frames * self._frame_hops:
            taken.append(self._ended.popleft()[1])
        return tuple(taken)

    def _meet(self, segment: Segment, position: int) -> None:
        """A phone begins."""
        phone, word = segment.phones[position], self._open
        if phone.hold_s is not None:
            self._hold(segment, position, phone.hold_s)
        if word is not None and word.index == phone.word_index:
            return
        following = segment.phones[position + 1].word_index if position + 1 < len(segment.phones) else None
        if word is not None and phone.pause is not None and following == word.index:
            return  # a token may be read with a pause inside it; the look-ahead has shown what comes behind
        hop = self._first_hop + segment.ends[position - 1]
        self._end_word(hop)
        if phone.word_index is not None:
            self._open = _OpenWord(phone.word_index, phone.start, phone.end, min(hop, self._made_hops))

    def _hold(self, segment: Segment, position: int, hold_s: float) -> None:
        start_s = (self._first_hop + segment.ends[position - 1]) * self._hop_s
        opens = segment.phones[position - 1].pause is None
        closes = position + 1 == len(segment.phones)
        self.held.append(HeldPause(start_s=start_s, end_s=start_s + hold_s, opens=opens, closes=closes))

    def _end_word(self, hop: int) -> None:
        """At most where the frames end: a segment's last phones may end within half a step behind its last one."""
        word, self._open = self._open, None
        if word is not None:
            hop = min(hop, self._made_hops)
            start_s, end_s = word.start_hop * self._hop_s, hop * self._hop_s
            time = WordTime(start_char=word.start_char, end_char=word.end_char, start_s=start_s, end_s=end_s)
            self._ended.append((hop, time))
