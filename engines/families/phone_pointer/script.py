"""The text side of one utterance of the shipped voice: text -> phones -> segments -> rows, and the times of words.

Text is read in slices, as far as speech needs it; how it was sliced changes nothing. Durations are planned before the
speech model speaks, so a segment ends when its plan is used up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from engines.errors import UnspeakableText
from engines.families.base import Frames, Row, Sampling, ScriptState, Verdict, WordTimes
from engines.families.phone_pointer.bundle import Bundle, Voice
from engines.families.phone_pointer.durations import Planner
from engines.families.phone_pointer.held_silence import HeldSilence
from engines.families.phone_pointer.inputs import StepInputs
from engines.families.phone_pointer.longest import Cut, Longest
from engines.families.phone_pointer.segmenter import Segment, Segmenter
from engines.families.phone_pointer.word_times import WordClock
from engines.messages import Submit
from engines.runtime.base import FloatArray
from engines.text import Phone, TextStream

WORDS_A_SLICE = 24  # spoken ones, made and pronounced at once; 64 characters of running text have 11, of digits 32
PHONES_AHEAD = 100  # read and not yet spoken, some 8 s; a book is not turned into phones faster than it is spoken
STEPS_AT_ONCE = 64  # planned together once a segment is spoken: of calls in a row only the first finds cold weights
PART_CHARS = 64  # what unpacking a part of a dictionary costs, in characters
_FLUSH, _END = object(), object()


class VoiceControls(NamedTuple):
    """What the vocoder is told of an utterance."""

    weights: tuple[float, ...]  # of each voice's timbre, by index
    pitch: float  # times the F0 that the vocoder chooses
    rate_hz: int


class PointerScript:
    prefix = None

    def __init__(
        self, submit: Submit, voice: Voice, bundle: Bundle, text: TextStream, planner: Planner, inputs: StepInputs
    ) -> None:
        self._voice, self._text, self._planner, self._inputs = voice, text, planner, inputs
        self._frame_hops, self._longest = bundle.frames_per_code, Longest(bundle)
        self.sampling = Sampling(temperature=submit.option("temperature", bundle.temperature))
        self.controls = VoiceControls(
            bundle.weights(submit.voice, submit.option("timbre", ())),
            2.0 ** (submit.option("pitch_semitones", 0.0) / 12),
            submit.sample_rate_hz,
        )
        self.guards = set[str]()
        speed = submit.option("speed", 1.0)
        self._stretch, self._segmenter = 1.0 / speed, Segmenter(speed)
        self._unread = deque[object]()  # texts, _FLUSH, _END; the first text may be half read
        self._ended = False
        self._segments = deque[Segment]()
        self._steps_planned = 2 + (bundle.drafts.length if bundle.drafts else 0)
        self._past = 0  # steps made of this segment
        self._known = 0  # and those whose inputs are known
        self._more_to_plan = False  # without more text
        self._phones = 0  # of all segments here
        self._words, self._held = WordClock(bundle), HeldSilence(submit.sample_rate_hz)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._text.warnings

    # -- text ------------------------------------------------------------------------------------------------------

    def append(self, text: str) -> None:
        if text:
            self._unread.append(text)

    def flush(self) -> None:
        self._unread.append(_FLUSH)

    def end(self) -> None:
        self._unread.append(_END)

    @property
    def readable(self) -> bool:
        if not self._unread:
            return False
        return self._phones - self._pointer < PHONES_AHEAD

    @property
    def has_text(self) -> bool:
        return bool(self._unread or self._segments)

    def read(self, max_chars: int) -> int:
        if not self._text.prepared:
            self._text.prepare()
            return PART_CHARS
        read = 0
        while self.readable and read < max_chars:
            read += self._read_next(max_chars - read)
        return read

    def _read_next(self, max_chars: int) -> int:
        """A slice of the next piece of text, or of what a flush or the end of the text leaves to speak. One that ends
        for its words counts whole."""
        step, chars = self._unread[0], 0
        if not self._text.busy:
            if isinstance(step, str):
                chars = min(len(step), max_chars)
                self._text.feed(step[:chars])
                step = self._unread[0] = step[chars:]
            else:
                self._text.close()
        self._take(self._text.more(WORDS_A_SLICE))
        if self._text.busy:
            return max_chars
        if not isinstance(step, str):
            self._close(ends=step is _END)
        if not step or not isinstance(step, str):
            self._unread.popleft()
        return chars

    def _close(self, *, ends: bool) -> None:
        self._segmenter.close()
        self._plan()
        if ends:
            self._ended = True
            if not self._text.spoken_any:
                raise UnspeakableText(f"nothing in the text can be spoken: {self._text.refusal}")

    def _take(self, phones: list[Phone]) -> None:
        self._segments.extend(self._segmenter.feed(phones))
        self._count_phones()
        self._plan()

    def _count_phones(self) -> None:
        self._phones = sum(len(one.phones) for one in self._segments)

    # -- rows ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ScriptState:
        if self._past < self._known:
            return ScriptState.READY
        if self._unread and not self._text.prepared:
            return ScriptState.PREPARING
        return ScriptState.DONE if self._ended and not self._segments else ScriptState.STARVED

    def prompt(self, most: int) -> list[Row]:
        raise AssertionError("nothing is prefilled")

    def row(self) -> Row:
        return self._segments[0].rows[self._past]

    def peek(self, most: int) -> Sequence[Row]:
        return self._segments[0].rows[self._past : self._past + most] if self._segments else ()

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        segment = self._segments[0]
        self._past += 1
        if self._more_to_plan and self._past + self._steps_planned > self._known:
            self._plan(STEPS_AT_ONCE)
        self._words.step_made(segment, self._past)
        if self._past < self._known or not segment.closed:
            return Verdict.GOES_ON
        if self._past == self._longest.steps:
            self.guards.add("segment_too_long")
        self._words.segment_ends(segment)
        self._segments.popleft()
        self._phones -= len(segment.phones)
        self._past = self._known = 0
        self._plan()
        return Verdict.SEGMENT_ENDS

    def words_until(self, frames: int) -> WordTimes:
        return self._words.until(frames)

    def silenced(self, pcm: bytes) -> bytes:
        while self._words.held:
            self._held.add(self._words.held.popleft())
        return self._held.feed(pcm)

    def _plan(self, steps: float | None = None) -> None:
        """Durations of the open segment and its steps' inputs, for so many steps from here on; None: as far as the next
        steps and the guesses behind them see."""
        if self._segments:
            segment, speaker = self._segments[0], self._voice.index
            until = self._past + (self._steps_planned if steps is None else steps)
            self._more_to_plan = self._planner.extend(segment, speaker, self._stretch, until * self._frame_hops)
            self._inputs.extend(segment, speaker)
            if (cut := self._longest.cut(segment, self._known)) is not None:
                self._cut(segment, cut)
            self._known = len(segment.rows)

    def _cut(self, segment: Segment, cut: Cut) -> None:
        self._more_to_plan = False
        last = cut.phone - 1
        segment.ends[last] = min(segment.ends[last], cut.steps * self._frame_hops)
        if (rest := self._segmenter.cut(segment, *cut)) is not None:
            self._segments.insert(1, rest)
        self._count_phones()

    @property
    def _pointer(self) -> int:
        """The phone that the next step speaks, or the last one whose step is known."""
        pointers = self._segments[0].pointers if self._segments else ()
        return pointers[min(self._past, len(pointers) - 1)] if pointers else 0
