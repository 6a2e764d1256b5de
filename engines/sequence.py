"""The engine's state of one utterance, owned by the loop. Its text is the Script's; nothing here knows text or models.

length              positions that its slot holds, of the open segment; None: the slot must begin anew
frames [0, vocoded)      sounding, emitted or on their way
frames [vocoded, made)   wait for the vocoder
ends                     where the vocoder must close, once known: of the utterance, or of each segment
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from msgspec.structs import replace

from engines.families.base import Controls, FloatArray, Frames, ModelSpec, Script, ScriptState, Verdict
from engines.leading_quiet import LeadingQuiet
from engines.messages import Append, EndText, Flush, LeadingSilence, Submit, Timings, WordTime
from engines.playout import Playout

NO_AUDIO = -math.inf  # the lead of a stream that has not sounded
# In frames:
_WORDS_GAP = 1  # words that follow each other faster are about to bring the next frame
_FRESH = 50  # for so long a stream that was just submitted counts as speaking
_COMFORTABLE = 125  # a lead with which nothing is owed for a while, however long the text


class Phase(Enum):
    WAITING = auto()  # for a slot
    RUNNING = auto()
    SWAPPED = auto()  # idle, its slot another's; what the slot held is kept
    DRAINING = auto()  # cancelled or failed while the vocoder still holds its row; freed when the job returns
    ENDED = auto()  # slot released; stale references are ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderRow:
    """One sequence's share of a vocoder job."""

    slot: int
    request_id: str
    frames: Frames  # [F, W]
    first_frame: int  # in the utterance, or the segment where the vocoder restarts; 0 begins the slot
    end_frame: int  # of the utterance
    controls: Controls
    seed: int
    closes: bool  # the vocoder's state ends here
    last: bool  # and so does the utterance


class Sequence:
    def __init__(self, submit: Submit, script: Script, spec: ModelSpec, now: float) -> None:
        self.request, self.script, self.spec = submit, script, spec
        self.phase = Phase.WAITING
        self.slot: int | None = None
        self.paused = self.stands_back = self._text_ended = False
        self._swapped: tuple[object, object] | None = None
        self.length: int | None = None
        self.in_flight = 0  # steps launched and not read
        self._frames = np.zeros((64, spec.frame_width), spec.frame_dtype)
        self.made = self.vocoded = 0
        self._ends = deque[int]()
        self._segment_first = 0  # frame from which the vocoder counts
        self._ended = False  # the Script is done
        self.in_vocoder = False
        self.closed = False  # its last job was given
        self._playout = Playout(submit.sample_rate_hz, submit.heard_samples)
        trims = submit.leading_silence is LeadingSilence.TRIM
        self._quiet = LeadingQuiet(submit.sample_rate_hz) if trims else None
        self._withheld_s = 0.0  # that is never sent
        self.quiet_frames = spec.opening_frames if trims else 0  # at the start, without an audible window; later more
        self.told_started, self.told_waiting = False, True  # there is nothing to wait behind yet
        self.arrived_s = self.started_s = self._last_text_s = now
        self.first_text_s: float | None = None
        self.heard = self.lm_steps = self.segments_done = 0  # heard: appends and flushes

    @property
    def samples(self) -> int:
        """Sent."""
        return self._playout.sent_samples

    # -- text ------------------------------------------------------------------------------------------------------

    def hear(self, command: Append | Flush | EndText, now: float) -> None:
        """What comes behind the end is not spoken."""
        if self._text_ended:
            return
        self.heard += 1
        match command:
            case Append(text=text):
                self.first_text_s = now if self.first_text_s is None else self.first_text_s
                if text:
                    self._last_text_s = now
                    self.script.append(text)
            case Flush():
                self.told_waiting = False
                self.script.flush()
            case EndText():
                self._text_ended = True
                self.script.end()

    def see_end(self) -> None:
        """The Script was read or given a frame: it may be done, with a frame or without one."""
        if not self._ended and self.script.state is ScriptState.DONE:
            self._ended = True
            if not self._ends:
                self._ends.append(self.made)

    def words_until(self, frames: int) -> tuple[WordTime, ...]:
        """In seconds from the first sample sent."""
        words, shift_s = self.script.words_until(frames), self._withheld_s
        if not shift_s:
            return words
        return tuple(
            replace(one, start_s=max(0.0, one.start_s - shift_s), end_s=max(0.0, one.end_s - shift_s)) for one in words
        )

    # -- phases ----------------------------------------------------------------------------------------------------

    def start(self, slot: int, now: float) -> tuple[object, object] | None:
        """-> what its slot held at the Talker and the Vocoder when it was swapped out."""
        kept, self._swapped = self._swapped, None
        if self.phase is Phase.WAITING:
            self.started_s = now
        self.slot, self.phase = slot, Phase.RUNNING
        return kept

    def swap_out(self, kept: tuple[object, object]) -> None:
        self.slot, self.phase, self._swapped = None, Phase.SWAPPED, kept

    @property
    def is_idle(self) -> bool:
        """Whether it needs no slot until a client says something."""
        return not (self.in_vocoder or self.in_flight) and (self.paused or (self.starved and not self._ends))

    def pause(self, paused: bool) -> None:
        self.paused = paused
        self._playout.is_excused = True

    def stand_back(self) -> None:
        self.stands_back = True

    def wait_for_text(self) -> None:
        self.told_waiting = True
        self._playout.waiting_for_text()

    def leave(self) -> bool:
        """Ends it; False where the vocoder still holds its row."""
        self.phase = Phase.DRAINING if self.in_vocoder else Phase.ENDED
        return self.phase is Phase.ENDED

    @property
    def starved(self) -> bool:
        """Everything that its text gave has sounded, and only more text brings more."""
        idle = not self.in_vocoder and not self.available
        return idle and not self.script.readable and self.script.state is ScriptState.STARVED

    # -- frames ----------------------------------------------------------------------------------------------------

    @property
    def can_prefill(self) -> bool:
        return self.phase is Phase.RUNNING and not self.paused and self.script.state is ScriptState.PREFILL

    @property
    def can_step(self) -> bool:
        return self.phase is Phase.RUNNING and not self.paused and self.script.state is ScriptState.READY

    @property
    def frames(self) -> Frames:
        """[made, W]"""
        return self._frames[: self.made]

    def begin(self, length: int) -> None:
        """Its slot holds a prefix of so many positions, and nothing of another segment."""
        self.length = length

    def prefilled(self, positions: int) -> None:
        assert self.length is not None, "a prompt goes into a slot that has begun"
        self.length += positions

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> bool:
        """frame [W], which stands, and what else came with it. Returns whether its segment goes on."""
        verdict = self.script.commit(frame, end_score, probe)
        self.lm_steps += 1
        self.told_waiting = False
        if verdict is not Verdict.END_MARKER:
            if self.made == len(self._frames):
                self._frames = np.concatenate([self._frames, np.zeros_like(self._frames)])
            self._frames[self.made] = frame
            self.made += 1
        if verdict is Verdict.GOES_ON:
            assert self.length is not None, "a step is made in a slot that has begun"
            self.length += 1
        else:
            self.length = None
            self.segments_done += 1
            if self.spec.vocoder_restarts:
                self._ends.append(self.made)
        self.see_end()
        return verdict is Verdict.GOES_ON

    # -- vocoder ---------------------------------------------------------------------------------------------------

    @property
    def can_vocode(self) -> bool:
        return self.phase is Phase.RUNNING and not (self.in_vocoder or self.paused or self.closed)

    @property
    def pending(self) -> int:
        """Frames that wait for the vocoder."""
        return self.made - self.vocoded

    @property
    def available(self) -> int:
        """Of them, those that its next job may hold."""
        end = self._ends[0] if self._ends else self.made - self.spec.withheld_frames
        return max(0, end - self.vocoded)

    @property
    def closes(self) -> bool:
        """Whether its next job ends the vocoder's state, if it holds all that is available."""
        return bool(self._ends)

    def take(self, count: int) -> VocoderRow:
        """The next `count` frames; they count as handed over from here on."""
        first, end = self.vocoded, self.vocoded + count
        closes = bool(self._ends) and end == self._ends[0]
        if closes:
            self._ends.popleft()
        last = closes and self._ended and not self._ends
        segment_first, self.vocoded, self.in_vocoder, self.closed = self._segment_first, end, True, last
        if closes:
            self._segment_first = end
        assert self.slot is not None, "only sequences with a slot have frames"
        return VocoderRow(
            slot=self.slot,
            request_id=self.request.request_id,
            frames=self._frames[first:end],
            first_frame=first - segment_first,
            end_frame=end,
            controls=self.script.controls,
            seed=self.request.seed,
            closes=closes,
            last=last,
        )

    def came_back(self) -> None:
        self.in_vocoder = False

    def audible(self, pcm: bytes, *, last: bool) -> bytes:
        """What of the next samples is sent: nothing before the first audible window is there."""
        pcm = self.script.silenced(pcm)
        if self._quiet is None:
            return pcm
        sent = self._quiet.feed(pcm, last=last)
        if self._quiet.is_over:
            self._withheld_s, self._quiet = self._quiet.withheld / self.request.sample_rate_hz, None
        else:
            self.quiet_frames = max(self.quiet_frames, self.vocoded)
        return sent

    # -- time ------------------------------------------------------------------------------------------------------

    def play(self, samples: int, now: float) -> None:
        """A chunk was sent. A listener who had run dry, or was waiting for text, plays on from now."""
        self._playout.sent(samples, now)

    @property
    def sounds(self) -> bool:
        """Whether a chunk was sent."""
        return self._playout.has_begun

    def is_late(self, now: float) -> bool:
        """Whether a chunk sent now finds its listener dry, for want of speed and not of text."""
        return not (self.paused or self.stands_back) and self._playout.is_late(now)

    def begins(self, now: float) -> bool:
        """Whether its next chunk is the first that its listener has to play: of all, or since the text ran out."""
        playout = self._playout
        return not playout.has_begun or (playout.is_excused and playout.lead_s(now) < self.spec.frame_s)

    def lead_s(self, now: float, frames: int) -> float:
        """Seconds left to play once the first `frames` frames are sent; minus infinity before the first chunk.

        Time in which there was no text to speak is not owed: a listener cannot be more than dry.
        """
        playout, spec = self._playout, self.spec
        if (ends_s := playout.ends_s) is None:
            return NO_AUDIO
        ahead_s = (frames if self._ended else frames - spec.lookahead_frames) * spec.frame_s
        return (ends_s - now if ends_s > now else 0.0) + ahead_s - self._withheld_s - playout.sent_s

    def plays_for_s(self, now: float) -> float:
        """Seconds that its listener can play from now on; 0 or less when it is dry, or has heard nothing yet."""
        return self._playout.lead_s(now)

    def spare_s(self, now: float, frames: int) -> float:
        """Its lead as plans see it: a stream in the background can always wait."""
        return math.inf if self.stands_back else self.lead_s(now, frames)

    def speaks(self, now: float) -> bool:
        """Whether it uses the machine, or is about to: a context that is open and silent does not."""
        working = self.script.has_text or self.vocoded < self.made or self.in_vocoder
        return working or now - self.arrived_s < _FRESH * self.spec.frame_s or self.plays_for_s(now) > 0

    def wants_frames(self, now: float) -> bool:
        """Whether its listener needs more audio soon and there is text for it."""
        if self.paused or self.spare_s(now, self.made) > _COMFORTABLE * self.spec.frame_s:
            return False
        return self.script.readable or self.script.state in (ScriptState.READY, ScriptState.PREFILL)

    @property
    def awaits_first_audio(self) -> bool:
        return not self.sounds and self.script.has_text

    def words_expected_s(self, now: float) -> float:
        """For how long a first frame alone, or the opening pause, is worth keeping back, since the next words are about
        to bring another one."""
        alone = self.vocoded == 0 and 0 < self.made <= max(1, self.quiet_frames) and not self._ended
        return self._last_text_s + _WORDS_GAP * self.spec.frame_s - now if alone else 0.0

    def timings(self, now: float) -> Timings:
        origin = self.arrived_s
        return Timings(
            first_text_s=(self.first_text_s or origin) - origin,
            started_s=self.started_s - origin,
            first_chunk_s=(self._playout.first_s or now) - origin,
            finished_s=now - origin,
            audio_s=self._playout.sent_s,
            lm_steps=self.lm_steps,
            segments=self.segments_done,
            guards=tuple(sorted(self.script.guards)),
        )
