"""The engine's state of one utterance; the only mutable class, owned by the loop.

text -> phones -> segments        what to say
segment, past, pointer            where the LM is
codes [0, vocoded)                spoken, emitted or on their way
codes [vocoded, len)              wait for the vocoder

Text is read in slices when the loop says so; how it was sliced changes nothing.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import Enum, auto

from engines.bundle import Bundle, Voice
from engines.errors import UnspeakableText
from engines.families.phone_pointer.durations import Place, Planner, place_at
from engines.families.phone_pointer.segmenter import Segment, Segmenter
from engines.families.phone_pointer.voice_mix import weights
from engines.leading_quiet import LeadingQuiet
from engines.messages import EndText, Flush, LeadingSilence, Submit, Timings, WordTime
from engines.scheduling.policy import Marks
from engines.text import Phone, TextStream

WORDS_A_SLICE = 24  # spoken ones, made and pronounced at once; 64 characters of running text have 11, of digits 32
PHONES_AHEAD = 100  # read and not yet spoken, some 8 s; a book is not turned into phones faster than it is spoken
MIN_TEMPERATURE = 1e-3  # below it logits over temperature leave float32: greedy is what it means


class Phase(Enum):
    WAITING = auto()  # for a slot
    RUNNING = auto()
    DRAINING = auto()  # cancelled or failed while the vocoder still holds its row; freed when the job returns
    ENDED = auto()  # its slot is somebody else's; whoever still knows it lets it be


@dataclass(slots=True)
class _OpenWord:
    index: int
    start_char: int
    end_char: int
    start_hop: int


class Sequence:
    def __init__(
        self, submit: Submit, voice: Voice, bundle: Bundle, text: TextStream, planner: Planner, now: float
    ) -> None:
        self.request = submit
        self.voice = voice
        self.bundle = bundle
        self._marks = Marks.of(bundle.code_s)
        self.weights = weights(bundle, submit.voice, submit.timbre)  # of the timbre, by voice
        self.pitch = 2.0 ** (submit.pitch_semitones / 12)  # times the F0 that the vocoder chooses
        self.stretch = 1.0 / submit.speed
        temperature = bundle.temperature if submit.temperature is None else submit.temperature
        self.temperature = temperature if temperature >= MIN_TEMPERATURE else 0.0
        self.phase = Phase.WAITING
        self.slot = -1  # valid while RUNNING or DRAINING
        self.paused = False
        self.stands_back = False

        self.text = text
        self.unread: deque[str | Flush | EndText] = deque()  # the first may be half read
        self.text_ended = False
        self._segmenter = Segmenter(submit.speed)
        self._planner = planner
        self._steps_planned = 2 + (bundle.drafts.length if bundle.drafts else 0)
        self.segments: deque[Segment] = deque()

        self.past = 0  # steps in the cache: of this segment
        self.previous_code = bundle.codes.begin
        self._pointer = 0  # phone of the last known place
        self._place: Place | None = None  # of the next step, once it is known

        self.codes: list[int] = []
        self.vocoded = 0  # codes handed to the vocoder
        self.in_vocoder = False
        self.flushed_tail = False
        self.samples = 0  # emitted
        trims = submit.leading_silence is LeadingSilence.TRIM
        self._quiet = LeadingQuiet(submit.sample_rate_hz) if trims else None
        # Codes at the start that have no audible window: those of the opening pause, later all found to have none.
        self.quiet_codes = -(-bundle.durations.opening_hops // bundle.frames_per_code) if trims else 0
        self.told_waiting = False
        self.had_to_wait = False  # since the last chunk: for text, or for a slow reader

        self._dry_at_s: float | None = None  # when its listener, playing from the first chunk, has no more to play

        self.words: deque[tuple[int, WordTime]] = deque()  # (hop at which it ends, word)
        self._word: _OpenWord | None = None
        self._met = 0  # phones of this segment that have begun, but the first
        self._first_hop = 0  # of this segment

        self.submitted_s = now
        self.first_text_s: float | None = None
        self._last_text_s = now
        self.started_s = now
        self.first_chunk_s: float | None = None
        self.lm_steps = 0
        self.segments_done = 0
        self.guards: set[str] = set()

    # -- text ------------------------------------------------------------------------------------------------------

    def add_text(self, step: str | Flush | EndText, now: float) -> None:
        if isinstance(step, str):
            if self.first_text_s is None:
                self.first_text_s = now
            if not step:
                return
            self._last_text_s = now
        self.unread.append(step)

    @property
    def readable(self) -> bool:
        """Whether text waits that should be read now."""
        if not self.unread:
            return False
        return sum(len(one.phones) for one in self.segments) - self._pointer < PHONES_AHEAD

    def speaks(self, now: float) -> bool:
        """Whether it uses the machine, or is about to: a context that is open and silent does not."""
        working = bool(self.unread or self.segments) or self.vocoded < len(self.codes) or self.in_vocoder
        return working or now - self.submitted_s < self._marks.fresh_s or (self._dry_at_s or 0.0) > now

    def read(self, max_chars: int) -> int:
        """Reads what has come, up to so many characters or some words of it. Returns how many characters that counts;
        a slice that ends for its words counts whole."""
        read = 0
        while self.readable and read < max_chars:
            read += self._read_next(max_chars - read)
        return read

    def _read_next(self, max_chars: int) -> int:
        """A slice of the next piece of text, or of what a flush or the end of the text leaves to speak."""
        step, chars = self.unread[0], 0
        if not self.text.busy:
            if isinstance(step, str):
                chars = min(len(step), max_chars)
                self.text.feed(step[:chars])
                step = self.unread[0] = step[chars:]
            else:
                self.text.close()
        self._take(self.text.more(WORDS_A_SLICE))
        if self.text.busy:
            return max_chars
        if not isinstance(step, str):
            self._close(step)
        if not step or not isinstance(step, str):
            self.unread.popleft()
        return chars

    def _close(self, step: Flush | EndText) -> None:
        self._segmenter.close()
        self._plan()
        if isinstance(step, EndText):
            self.text_ended = True
            if not self.text.spoken_any:
                raise UnspeakableText(f"nothing in the text can be spoken: {self.text.refusal}")

    def _take(self, phones: list[Phone]) -> None:
        if phones:
            self.told_waiting = False
        self.segments.extend(self._segmenter.feed(phones))
        self._plan()

    # -- speech model ----------------------------------------------------------------------------------------------

    def _plan(self, hop: float | None = None) -> None:
        """Durations of the open segment, as far as the next steps and the guesses behind them see, or until `hop`."""
        if self.segments:
            ahead = (self.past + self._steps_planned) * self.bundle.frames_per_code
            self._planner.extend(self.segments[0], self.voice.index, self.stretch, ahead if hop is None else hop)

    @property
    def place(self) -> Place | None:
        """Of the next LM step; None until its inputs are known."""
        if self._place is None and self.segments:
            segment = self.segments[0]
            self._place = place_at(self.bundle, segment, self.past, self._pointer, self.previous_code)
            if self._place is not None:
                self._pointer = self._place.pointer
        return self._place

    @property
    def ready(self) -> bool:
        """Whether the next LM step's inputs are known: its look-ahead is there, or the segment ends before."""
        return self.place is not None

    @property
    def pending(self) -> int:
        """Codes that wait for the vocoder."""
        return len(self.codes) - self.vocoded

    @property
    def spoken_out(self) -> bool:
        """Every code of every phone has been made."""
        return self.text_ended and not self.segments

    @property
    def starved(self) -> bool:
        """All codes of the text so far are spoken, and only more text brings more."""
        spoken = not self.in_vocoder and self.vocoded == len(self.codes)
        return spoken and not self.unread and not self.text_ended and not self.ready

    def take_code(self, code: int) -> None:
        """Commits one LM step."""
        segment = self.segments[0]
        self.codes.append(code)
        self.previous_code = code
        self.past += 1
        self.lm_steps += 1
        self._place = None
        self._plan()
        self._meet_phones(segment)
        if self.past >= self.bundle.adapter.max_steps:
            self.guards.add("segment_too_long")
            self._plan(math.inf)
            self._finish_segment(segment)
        elif segment.closed and self.place is None:
            self._finish_segment(segment)

    def _finish_segment(self, segment: Segment) -> None:
        while self._met + 1 < len(segment.phones):
            self._met += 1
            self._meet(segment, self._met)
        self._end_word(self._first_hop + segment.ends[-1])
        self.segments.popleft()
        self.segments_done += 1
        self.past = self._pointer = self._met = 0
        self._first_hop = len(self.codes) * self.bundle.frames_per_code
        self.previous_code = self.bundle.codes.begin
        self._plan()

    # -- words -----------------------------------------------------------------------------------------------------

    def _meet_phones(self, segment: Segment) -> None:
        """All that begin within the codes made so far; the look-ahead holds them and their successors."""
        hop = self.past * self.bundle.frames_per_code
        while self._met + 1 < len(segment.phones) and self._met < len(segment.ends) and segment.ends[self._met] <= hop:
            self._met += 1
            self._meet(segment, self._met)

    def _meet(self, segment: Segment, position: int) -> None:
        """A phone begins."""
        phone, word = segment.phones[position], self._word
        if word is not None and word.index == phone.word_index:
            return
        following = segment.phones[position + 1].word_index if position + 1 < len(segment.phones) else None
        if word is not None and phone.pause is not None and following == word.index:
            return  # a token may be read with a pause inside it; the look-ahead has shown what comes behind
        hop = self._first_hop + segment.ends[position - 1]
        self._end_word(hop)
        if phone.word_index is not None:
            self._word = _OpenWord(phone.word_index, phone.start, phone.end, self._spoken(hop))

    def _end_word(self, hop: int) -> None:
        word, self._word = self._word, None
        if word is None:
            return
        hop = self._spoken(hop)
        time = WordTime(
            start_char=word.start_char,
            end_char=word.end_char,
            start_s=word.start_hop * self.bundle.hop_s,
            end_s=hop * self.bundle.hop_s,
        )
        self.words.append((hop, time))

    def _spoken(self, hop: int) -> int:
        """At most what the codes hold: a segment's last phones may end within half a step behind its last one."""
        return min(hop, len(self.codes) * self.bundle.frames_per_code)

    def words_until(self, codes: int) -> tuple[WordTime, ...]:
        """Words that have ended within the first `codes` codes and were not taken before."""
        taken = []
        while self.words and self.words[0][0] <= codes * self.bundle.frames_per_code:
            word = self.words.popleft()[1]
            start_s, end_s = (max(0.0, at_s - self._withheld_s) for at_s in (word.start_s, word.end_s))
            taken.append(replace(word, start_s=start_s, end_s=end_s))
        return tuple(taken)

    # -- audio -----------------------------------------------------------------------------------------------------

    def audible(self, pcm: bytes, *, last: bool) -> bytes:
        """What of the next samples is sent: nothing before the first audible window is there."""
        if self._quiet is None:
            return pcm
        sent = self._quiet.feed(pcm, last=last)
        if not self._quiet.is_over:
            self.quiet_codes = max(self.quiet_codes, self.vocoded)
        return sent

    @property
    def _withheld_s(self) -> float:
        return 0.0 if self._quiet is None else self._quiet.withheld / self.request.sample_rate_hz

    # -- time ------------------------------------------------------------------------------------------------------

    def play(self, samples: int, now: float) -> None:
        """A chunk was sent. A listener who had run dry, or was waiting for text, plays on from now."""
        if self.first_chunk_s is None:
            self.first_chunk_s = now
        self.samples += samples
        self.had_to_wait = False
        self._dry_at_s = max(self._dry_at_s or now, now) + samples / self.request.sample_rate_hz

    def wants_codes(self, now: float) -> bool:
        """Whether there is work on it now that somebody waits for: text to speak, and a reader who takes it and has
        not got plenty."""
        if self.paused or self.spare_s(now, len(self.codes)) > self._marks.comfortable_s:
            return False
        return (bool(self.unread) or self.ready) and self.above_cap_s(now) <= 0

    def late(self, now: float) -> bool:
        """Whether a chunk sent now finds its listener dry, for want of speed and not of text."""
        excused = self.had_to_wait or self.paused or self.stands_back
        return self._dry_at_s is not None and now > self._dry_at_s and not excused

    def begins(self, now: float) -> bool:
        """Whether its next chunk is the first that its listener has to play: of all, or since the text ran out."""
        return self._dry_at_s is None or (self.had_to_wait and now > self._dry_at_s - self.bundle.code_s)

    def lead_s(self, now: float, codes: int) -> float:
        """Seconds left to play once the first `codes` codes are sent; minus infinity before the first chunk.

        Time in which there was no text to speak is not owed: a listener cannot be more than dry.
        """
        if self._dry_at_s is None:
            return float("-inf")
        unsent_s = codes * self.bundle.code_s - self._withheld_s - self.samples / self.request.sample_rate_hz
        return max(0.0, self._dry_at_s - now) + unsent_s

    def plays_for_s(self, now: float) -> float:
        """Seconds that its listener can play from now on; 0 or less when it is dry, or has heard nothing yet."""
        return 0.0 if self._dry_at_s is None else self._dry_at_s - now

    def spare_s(self, now: float, codes: int) -> float:
        """Its lead as the choice of who runs sees it: whoever stands back can always wait."""
        return float("inf") if self.stands_back else self.lead_s(now, codes)

    def above_cap_s(self, now: float) -> float:
        """Seconds until its lead is down to its cap again; 0 or less when it may be decoded."""
        cap = self.request.max_lead_s
        return float("-inf") if cap is None else self.lead_s(now, len(self.codes)) - cap

    def words_expected_s(self, now: float) -> float:
        """For how long a first code alone, or the opening pause, is worth keeping back, since the next words are about
        to bring another code."""
        alone = self.vocoded == 0 and 0 < len(self.codes) <= max(1, self.quiet_codes) and not self.text_ended
        return self._last_text_s + self._marks.words_gap_s - now if alone else 0.0

    def timings(self, now: float) -> Timings:
        origin = self.submitted_s
        return Timings(
            first_text_s=(self.first_text_s or origin) - origin,
            started_s=self.started_s - origin,
            first_chunk_s=(self.first_chunk_s or now) - origin,
            finished_s=now - origin,
            audio_s=self.samples / self.request.sample_rate_hz,
            lm_steps=self.lm_steps,
            segments=self.segments_done,
            guards=tuple(sorted(self.guards)),
        )
