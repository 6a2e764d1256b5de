"""The engine's state of one utterance; the only mutable class, owned by the loop.

text -> phones -> segments        what to say
segment, pointer, elapsed         where the LM is
codes [0, vocoded)                spoken, emitted or on their way
codes [vocoded, len)              wait for the vocoder
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from engines.bundle import Bundle, Voice
from engines.messages import Submit, WordTime
from engines.segmenter import Segment, Segmenter
from engines.text import FrontEnd, Phone, TextStream


class Phase(Enum):
    WAITING = auto()  # for a slot
    RUNNING = auto()
    DRAINING = auto()  # cancelled or failed while the vocoder still holds its row; freed when the job returns


@dataclass(slots=True)
class _OpenWord:
    index: int
    start_char: int
    end_char: int
    start_code: int


class Sequence:
    def __init__(self, submit: Submit, voice: Voice, bundle: Bundle, front_end: FrontEnd, now: float) -> None:
        self.request = submit
        self.voice = voice
        self.bundle = bundle
        self.stretch = 1.0 / submit.speed
        self.temperature = bundle.temperature if submit.temperature is None else submit.temperature
        self.phase = Phase.WAITING
        self.slot = -1  # valid while RUNNING or DRAINING
        self.paused = False

        self.text: TextStream = front_end.open()
        self.text_ended = False
        self._segmenter = Segmenter(submit.speed)
        self.segments: deque[Segment] = deque()

        self.pointer = 0
        self.elapsed = 0
        self.past = 0  # steps in the cache: of this segment
        self.previous_code = bundle.codes.begin

        self.codes: list[int] = []
        self.vocoded = 0  # codes handed to the vocoder
        self.in_vocoder = False
        self.flushed_tail = False
        self.samples = 0  # emitted
        self.told_waiting = False

        self.words: deque[tuple[int, WordTime]] = deque()  # (codes after which it has ended, word)
        self._word: _OpenWord | None = None

        self.submitted_s = now
        self.first_text_s: float | None = None
        self.started_s = now
        self.first_chunk_s: float | None = None
        self.lm_steps = 0
        self.segments_done = 0
        self.forced_advances = 0
        self.guards: set[str] = set()

    # -- text ------------------------------------------------------------------------------------------------------

    def append(self, text: str, now: float) -> None:
        if self.first_text_s is None:
            self.first_text_s = now
        self._take(self.text.append(text))

    def flush(self) -> None:
        self._take(self.text.flush())
        self._segmenter.close()

    def end_text(self) -> None:
        self._take(self.text.end())
        self._segmenter.close()
        self.text_ended = True

    def _take(self, phones: list[Phone]) -> None:
        if phones:
            self.told_waiting = False
        self.segments.extend(self._segmenter.feed(phones))

    # -- speech model ----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether the next LM step's inputs are known: its look-ahead is there, or the segment ends before."""
        if not self.segments:
            return False
        segment = self.segments[0]
        return segment.closed or len(segment.phones) > self.pointer + self.bundle.adapter.look_ahead_phones

    @property
    def spoken_out(self) -> bool:
        """Every code of every phone has been made."""
        return self.text_ended and not self.segments

    def take_code(self, code: int, advance: int) -> None:
        """Commits one LM step: the code, the pointer's move and the guards."""
        adapter = self.bundle.adapter
        segment = self.segments[0]
        self.codes.append(code)
        self.previous_code = code
        self.past += 1
        self.lm_steps += 1
        if advance == 0 and self.elapsed + 1 >= self._longest_hold(segment):
            advance = 1
            self.forced_advances += 1
        last = len(segment.phones) - 1
        if self.past >= adapter.max_steps:
            self.guards.add("segment_too_long")
            self._enter(segment, last)
            self._finish_segment()
        elif advance == 0:
            self.elapsed += 1
        elif self.pointer == last:
            self._finish_segment()
        else:
            self._enter(segment, min(self.pointer + advance, last))

    def _longest_hold(self, segment: Segment) -> int:
        pause = segment.phones[self.pointer].pause is not None
        return max(2, round(self.bundle.adapter.max_hold_steps * self.stretch * (2 if pause else 1)))

    def _enter(self, segment: Segment, target: int) -> None:
        for position in range(self.pointer + 1, target + 1):
            self._meet(segment.phones[position])
        self.pointer, self.elapsed = target, 0

    def _finish_segment(self) -> None:
        self._end_word()
        self.segments.popleft()
        self.segments_done += 1
        self.pointer = self.elapsed = self.past = 0
        self.previous_code = self.bundle.codes.begin

    # -- words -----------------------------------------------------------------------------------------------------

    def _meet(self, phone: Phone) -> None:
        """The pointer comes to a phone, after len(codes) codes."""
        word = self._word
        if word is not None and word.index == phone.word_index:
            return
        self._end_word()
        if phone.word_index is not None:
            self._word = _OpenWord(phone.word_index, phone.start, phone.end, len(self.codes))

    def _end_word(self) -> None:
        word, self._word = self._word, None
        if word is None:
            return
        code_s, now = self.bundle.code_s, len(self.codes)
        time = WordTime(
            start_char=word.start_char, end_char=word.end_char, start_s=word.start_code * code_s, end_s=now * code_s
        )
        self.words.append((now, time))

    def words_until(self, codes: int) -> tuple[WordTime, ...]:
        """Words that have ended within the first `codes` codes and were not taken before."""
        taken = []
        while self.words and self.words[0][0] <= codes:
            taken.append(self.words.popleft()[1])
        return tuple(taken)

    # -- time ------------------------------------------------------------------------------------------------------

    def lead_s(self, now: float, seconds_made: float) -> float:
        """Seconds made beyond what its listener has heard by now; before the first chunk, minus infinity."""
        if self.first_chunk_s is None:
            return float("-inf")
        return seconds_made - (now - self.first_chunk_s)


@dataclass(slots=True)
class Counters:
    """What has happened since the start, for metrics."""

    lm_steps: int = 0
    lm_rows: int = 0
    lm_busy_s: float = 0.0
    vocoder_busy_s: float = 0.0
    vocoder_rows: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    guards: dict[str, int] = field(default_factory=dict)
