"""One utterance as every protocol sees it: text in as it comes, audio and word times out, cancel with position.

It holds the engine's stream, the seed, the resampler and the stretch, the transcript, deadlines and the accounting. It
knows no socket and no protocol. All times are the listener's: behind resampling and stretching. `next` gives events
until the last one; nothing comes after that.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence

from msgspec.structs import replace

from engines.families.common.voice_mix import ChosenVoice
from engines.messages import (
    Cancelled,
    Chunk,
    Failed,
    Finished,
    LeadingSilence,
    Started,
    Submit,
    Timings,
    WaitingForText,
    WordTime,
)
from engines.text import FOR_THE_EAR, TextSettings
from server.access import current_caller
from server.audio import Resampler, spoken_rate_hz
from server.audio.stretch import TimeStretch, split_speed
from server.audio.workers import off_loop
from server.errors import ApiError, Outcome
from server.logs import redacted
from server.metrics import Protocol
from server.schemas import check_characters
from server.speech.accounting import Accounting
from server.speech.deadlines import Deadlines
from server.speech.events import Audio, SpeechEvent
from server.speech.identity import utterance_id
from server.speech.model_options import Options
from server.speech.pronunciations import Chosen
from server.speech.resume import Resume, Skip
from server.speech.service import SpeechService
from server.speech.transcript import Position, Transcript, stretched

_SILENCE_S = 0.1  # of a text of which nothing can be spoken: an answer of no sound counts as a failed service


class Utterance:
    def __init__(
        self,
        state: SpeechService,
        *,
        protocol: Protocol,
        chosen_voice: ChosenVoice,
        seed: int | None,
        speed: float,
        pitch_semitones: float = 0.0,
        rate_hz: int,
        temperature: float | None,
        pronunciations: Chosen = (),
        leading_silence: LeadingSilence | None = None,
        options: Options = (),
        follow_tags: bool = True,
        rendering: str = "pcm",
        resume: Resume | None = None,
        request_id: str | None = None,
        text_field: str = "text",
        idle_s: float | None = None,
        may_be_silent: bool = False,
    ) -> None:
        """`rendering` names what is made of the PCM, for `utterance_id`; `text_field` is the text's name in the
        caller's dialect; `idle_s` is how long the text may pause, by default the setting. A text of which nothing can
        be spoken fails, or where it `may_be_silent` is a short silence. Raises ApiError when the caller's quota is
        used up."""
        self.id = request_id or f"utt-{uuid.uuid4().hex}"  # of this request; see `utterance_id`
        self.seed = next(one for one in (seed, state.settings.seed, secrets.randbelow(2**31)) if one is not None)
        self.rate_hz = rate_hz
        self.transcript = Transcript()
        self._state, self._clock, self._rendering = state, state.clock, rendering
        model_speed, self._tempo = split_speed(speed, state.spec.speeds)
        spoken_hz = spoken_rate_hz(rate_hz, state.spec.rates_hz, state.spec.native_rate_hz)
        self._resampler, self._stretch = Resampler(rate_hz, spoken_hz), TimeStretch(rate_hz, self._tempo)
        self._text_field, self._may_be_silent = text_field, may_be_silent
        self._flushes: list[int] = []
        self.sent_commands = 0  # appends and flushes: what `WaitingForText` counts
        self._unsent_words: list[WordTime] = []
        self._cancelled_s: float | None = None
        self._played_s: float | None = None  # as the client says
        self._finished: Finished | None = None  # to be told once the last samples are out
        self._submit = Submit(
            request_id=self.id,
            voice=chosen_voice.voice,
            seed=self.seed,
            sample_rate_hz=spoken_hz,
            leading_silence=leading_silence or state.settings.leading_silence,
            options=options,
        ).asking(
            timbre=chosen_voice.timbre,
            pitch_semitones=pitch_semitones or None,
            speed=None if model_speed == 1.0 else model_speed,
            temperature=temperature,
            pronunciations=pronunciations,
            text_settings=self._text_settings(follow_tags=follow_tags),
        )
        self._voice_digest = state.cloned.use(chosen_voice.voice)
        self.name_without_text = self._name("", ())
        if resume is not None:
            resume.check(self._name(resume.text, ()))
        self._skip = Skip(0 if resume is None else resume.from_sample)
        self._skipped_s = self._skip.left / rate_hz
        heard_samples = round(self._skipped_s * self._tempo * self._submit.sample_rate_hz)
        self._submit = replace(self._submit, heard_samples=heard_samples, voice_digest=self._voice_digest)
        self._accounting = Accounting(
            state.metrics, current_caller(), protocol=protocol, rate_hz=rate_hz, clock=state.clock
        )
        self._deadlines = Deadlines(state.settings, text_field, idle_s or state.settings.idle_s, self.fail)
        self._stream = state.engine.open(self._submit)
        state.live.add(self.id, self.fail)

    def _text_settings(self, *, follow_tags: bool) -> TextSettings | None:
        """None where they change nothing, or the model's family does not know them."""
        settings = self._state.settings
        found = TextSettings(
            skip_reasoning=settings.skip_reasoning, skip_directions=settings.skip_directions, follow_tags=follow_tags
        )
        known = self._state.spec.option("text_settings") is not None
        return found if known and found != FOR_THE_EAR else None

    @property
    def characters(self) -> int:
        return self.transcript.characters

    @property
    def audio_s(self) -> float:
        """Up to the last sample that the listener has; a resumed utterance counts from its first."""
        return self._skipped_s + self._accounting.audio_s

    @property
    def lead_s(self) -> float:
        """Audio sent and not yet heard."""
        return max(0.0, self._accounting.lead_s)

    @property
    def is_resumed(self) -> bool:
        return self._skipped_s > 0

    @property
    def ttfa_s(self) -> float | None:
        return self._accounting.ttfa_s

    @property
    def audible_ttfa_s(self) -> float | None:
        return self._accounting.audible_ttfa_s

    @property
    def flushes(self) -> list[int]:
        return self._flushes

    @property
    def utterance_id(self) -> str:
        """The same for the same speech; final once the text has ended."""
        return self._name(self.transcript.text, self._flushes)

    def _name(self, text: str, flushes: Sequence[int]) -> str:
        return utterance_id(
            self._state.engine.bundle_digest,
            self._state.engine.arithmetic,
            text,
            flushes,
            self._submit,
            rate_hz=self.rate_hz,
            tempo=self._tempo,
            rendering=self._rendering,
            draft_tolerance=self._state.settings.draft_tolerance,
            voice_digest=self._voice_digest,
        )

    @property
    def position(self) -> Position:
        """Where it stands, or was cancelled: what has been heard by then and what has not."""
        sent_s = self.audio_s
        heard_s = self._skipped_s + self._accounting.played_s(
            self._clock() if self._cancelled_s is None else self._cancelled_s
        )
        played_s = round(max(0.0, min(sent_s, heard_s if self._played_s is None else self._played_s)), 5)
        spoken, remaining = self.transcript.split(played_s)
        return Position(
            played_s=played_s,
            sent_s=sent_s,
            text_spoken=spoken,
            text_remaining=remaining,
            text_accuracy="word" if self._state.spec.times_words else "unknown",
        )

    # -- in --------------------------------------------------------------------------------------------------------

    def append(self, text: str, received_s: float) -> None:
        """`received_s` is when the bytes came; the first starts the TTFA clock. Raises ApiError beyond a limit."""
        if not text:
            return
        check_characters(text, self._text_field)
        self._state.check_length(self.characters + len(text), self._text_field)
        self._accounting.text_received(len(text), received_s)
        self.keep_alive()
        self.transcript.append(text)
        self.sent_commands += 1
        self._stream.append(text)

    def flush(self) -> None:
        """Again, or before any text, it says nothing new: a client may not fill our memory with it."""
        if self.characters > (self._flushes[-1] if self._flushes else 0):
            self._flushes.append(self.characters)
            self.sent_commands += 1
            self._stream.flush()

    def keep_alive(self) -> None:
        """More text is to come. What has been sent is heard first."""
        self._deadlines.text_goes_on(self.lead_s)

    def end(self) -> None:
        self._deadlines.text_ends(has_audio=self._accounting.has_audio)
        self._stream.end()

    def listener_left(self) -> None:
        """Until it is back, silence is no underrun."""
        self._accounting.waiting_for_text()

    def deprioritize(self) -> None:
        """Its listener may have turned away: all other streams go first."""
        self._stream.deprioritize()

    def cancel(self, played_s: float | None = None) -> None:
        """Stops now; `Cancelled` comes next unless the last event has been taken. `position` is then fixed."""
        if self._cancelled_s is None:
            self._cancelled_s, self._played_s = self._clock(), played_s
            self._stream.cancel()

    def fail(self, error: ApiError) -> None:
        """Stops for a reason of the server's; `Failed` comes next."""
        failed = Failed(request_id=self.id, code=error.code, message=error.message, retry_after_s=error.retry_after_s)
        self._stream.fail(failed)

    # -- out -------------------------------------------------------------------------------------------------------

    async def next(self) -> SpeechEvent:
        """The next event. The last samples come before `Finished`."""
        while self._finished is None:
            event = await self._deadlines.meet(self._stream.next())
            match event:
                case Chunk(pcm=pcm, words=words):
                    self._deadlines.audio_came()
                    if (made := await self._made(pcm, words)) is not None:
                        return made
                case Finished():
                    self._finished = event
                    rest = await self._made(b"", (), last=True)
                    if self._skip.left:
                        return self._failed_beyond_the_end()
                    if rest is not None and rest.data:
                        return rest
                case Started():
                    self._accounting.started()
                    return event
                case WaitingForText():
                    self._accounting.waiting_for_text()
                    return event
                case Cancelled():
                    self._finish_accounting("cancelled")
                    return event
                case Failed(code="unspeakable_text", message=message) if self._may_be_silent:
                    self._deadlines.audio_came()
                    self._finished = self._silent(message)
                    silence = bytes(2 * round(_SILENCE_S * self._submit.sample_rate_hz))
                    rest = await self._made(silence, (), last=True)
                    if self._skip.left:
                        return self._failed_beyond_the_end()
                    if rest is not None:
                        return rest
                case Failed(code=code):
                    self._finish_accounting(ApiError.of(event).kind.outcome, code)
                    return event
                case _:
                    raise AssertionError(f"no event of an utterance: {event}")
        self._finish_accounting("ok")
        return self._finished

    async def _made(self, pcm: bytes, words: tuple[WordTime, ...], *, last: bool = False) -> Audio | None:
        """None when it was cancelled meanwhile: nothing may be heard after that."""
        pcm = self._resampler.feed(pcm, last=last)
        if self._tempo != 1.0:
            pcm = await off_loop(lambda: self._stretch.feed(pcm, last=last))
            words = tuple(stretched(word, self._tempo) for word in words)
            if self._cancelled_s is not None and not last:
                return None
        self._unsent_words += words
        return Audio(data=self._skip.rest(pcm), words=words)

    def _silent(self, why: str) -> Finished:
        timings = Timings(
            first_text_s=0.0,
            started_s=0.0,
            first_chunk_s=0.0,
            finished_s=0.0,
            audio_s=_SILENCE_S,
            lm_steps=0,
            segments=0,
        )
        samples = round(_SILENCE_S * self._submit.sample_rate_hz)
        return Finished(request_id=self.id, samples=samples, timings=timings, warnings=(why,))

    def _failed_beyond_the_end(self) -> Failed:
        message = f"from_sample is {self._skip.left} samples behind the end of the utterance"
        self._finish_accounting("error", "invalid_parameter")
        return Failed(request_id=self.id, code="invalid_parameter", message=message)

    def sent(self, pcm: bytes) -> tuple[WordTime, ...]:
        """Call when audio has been handed to the socket. Returns the words that it has spoken."""
        self._accounting.audio_sent(pcm)
        self.keep_alive()
        words, self._unsent_words = self._unsent_words, []
        return self.transcript.spoke(words)

    def close(self) -> None:
        """The listener has heard all or is gone. Safe to call twice."""
        self._state.live.discard(self.id)
        if not self._accounting.closed:
            self._stream.abandon()
            self._finish_accounting("cancelled", "disconnected")

    def _finish_accounting(self, outcome: Outcome, code: str | None = None) -> None:
        self._deadlines.close()
        self._accounting.close(
            outcome,
            code,
            request_id=self.id,
            utterance_id=self.utterance_id,
            characters=self.characters,
            text=redacted(self.transcript.text, keep=self._state.settings.log_text),
            seed=self.seed,
        )
