"""One utterance as the foreign dialects hear it: an `Utterance` encoded in a format, with a graceful stop.

Compressed formats are made on a worker thread, plain ones on the event loop. The pieces of one utterance are made in
order: the next is not taken before the last one is done.
"""

from __future__ import annotations

from functools import partial

from engines.families.common.voice_mix import ChosenVoice
from engines.messages import Cancelled, Failed, Finished, LeadingSilence, WaitingForText, WordTime
from engines.text import script_counts
from server.audio.formats import AudioFormat, Encoder
from server.audio.workers import off_loop
from server.metrics import Protocol
from server.speech.events import Audio, SpeechEvent
from server.speech.model_options import Options
from server.speech.pronunciations import Chosen
from server.speech.resume import Resume
from server.speech.service import SpeechService
from server.speech.transcript import Position
from server.speech.utterance import Utterance


class EncodedSpeech:
    def __init__(
        self,
        state: SpeechService,
        *,
        protocol: Protocol,
        chosen_voice: ChosenVoice,
        form: AudioFormat,
        seed: int | None = None,
        speed: float = 1.0,
        pitch_semitones: float = 0.0,
        temperature: float | None = None,
        pronunciations: Chosen = (),
        leading_silence: LeadingSilence | None = None,
        options: Options = (),
        follow_tags: bool = True,
        resume: Resume | None = None,
        request_id: str | None = None,
        text_field: str = "text",
        idle_s: float | None = None,
        may_be_silent: bool = True,
    ) -> None:
        """See `Utterance`. Language models answer with an emoji or dots alone, and clients of these dialects give up a
        service that fails or stays without sound thrice. Raises ApiError when the caller's quota is used up."""
        self.form = form
        self._encoder: Encoder | None = None  # made where it works: some take more than a millisecond
        self._utterance = Utterance(
            state,
            protocol=protocol,
            chosen_voice=chosen_voice,
            seed=seed,
            speed=speed,
            pitch_semitones=pitch_semitones,
            rate_hz=form.rate_hz,
            temperature=temperature,
            pronunciations=pronunciations,
            leading_silence=leading_silence,
            options=options,
            follow_tags=follow_tags,
            rendering=form.name,
            resume=resume,
            request_id=request_id,
            text_field=text_field,
            idle_s=idle_s,
            may_be_silent=may_be_silent,
        )
        self._unsent = b""  # PCM within bytes not yet handed to the socket, or still inside the encoder
        self._samples = 0  # given to the encoder
        self._flushed = 0  # what `sent_commands` was then
        self._last_char: int | None = None  # speak up to here, then stop
        self._stop_sample: int | None = None  # where that is, once it is known
        self._words_to = 0  # characters of the words spoken so far
        self._stopped = False  # what the utterance still gives is not for the listener
        self._encoder_ended = False
        self._end: Finished | Cancelled | None = None  # to be told after the last sound

    @property
    def id(self) -> str:
        return self._utterance.id

    @property
    def text(self) -> str:
        return self._utterance.transcript.text

    @property
    def audio_s(self) -> float:
        return self._utterance.audio_s

    @property
    def unsent_s(self) -> float:
        """Audio of the last sound, before `sent`."""
        return len(self._unsent) / 2 / self.form.rate_hz

    @property
    def lead_s(self) -> float:
        """Audio sent and not yet heard."""
        return self._utterance.lead_s

    @property
    def position(self) -> Position:
        """Where it stands, or was cancelled."""
        return self._utterance.position

    def heard_by(self, played_s: float) -> str:
        """The text up to the last word that had ended by then."""
        return self._utterance.transcript.split(played_s)[0]

    @property
    def headers(self) -> dict[str, str]:
        """For an HTTP answer whose text is complete."""
        spoken = self._utterance
        named = {
            "x-request-id": spoken.id,
            "x-utterance-id": spoken.utterance_id,
            "x-seed": str(spoken.seed),
            "x-sample-rate": str(spoken.rate_hz),
        }
        if left_out := script_counts(self.text):  # characters that cannot be spoken, by script
            named["x-left-out"] = ", ".join(f"{script}={count}" for script, count in left_out.items())
        return named

    @property
    def is_resumed(self) -> bool:
        """It may have nothing left to say."""
        return self._utterance.is_resumed

    def append(self, text: str, received_s: float) -> None:
        """Raises ApiError beyond a limit."""
        self._utterance.append(text, received_s)

    def flush(self) -> None:
        self._utterance.flush()
        self._flushed = self.sent_commands

    @property
    def sent_commands(self) -> int:
        """Appends and flushes: what `WaitingForText` counts."""
        return self._utterance.sent_commands

    def keep_alive(self) -> None:
        """More text is to come."""
        self._utterance.keep_alive()

    def end(self) -> None:
        self._utterance.end()

    def deprioritize(self) -> None:
        """All other streams go first from here on."""
        self._utterance.deprioritize()

    def cancel(self, played_s: float | None = None) -> None:
        """Stops at once; what the encoder holds back is lost, unless `stop_after` was called. `position` then stays."""
        self._stopped = True
        self._utterance.cancel(played_s)

    def stop_after(self, char: int) -> None:
        """Speaks the words before `char` (all flushed) to their end, drops what follows, then is `Cancelled`."""
        self._last_char = char
        if self._words_to >= char:
            self.cancel()

    async def next(self) -> SpeechEvent:
        """The next sound or end. `Finished`, `Cancelled` or `Failed` is the last."""
        while self._end is None:
            event = await self._utterance.next()
            match event:
                case Audio(data=pcm, words=words) if not self._stopped:
                    return await self._spoken(pcm, words)
                case WaitingForText(heard=heard) if not self._stopped:
                    if self._last_char is None:
                        return event
                    if heard >= self._flushed:  # all that was flushed has been spoken
                        return await self._stop(b"", ())
                case Finished():
                    self._end = event
                    if self._stopped:
                        break
                    return await self._make(b"", (), last=True)
                case Cancelled() if self._last_char is not None and not self._encoder_ended:
                    self._end = event
                    return await self._make(b"", (), last=True)
                case Cancelled() | Failed():
                    return event
        return self._end

    def sent(self) -> tuple[WordTime, ...]:
        """Call when a sound's bytes have been handed to the socket. Returns the words that it has spoken."""
        pcm, self._unsent = self._unsent, b""
        return self._utterance.sent(pcm) if pcm else ()

    def close(self) -> None:
        """The listener is done or gone. Safe to call twice."""
        self._utterance.close()

    async def _spoken(self, pcm: bytes, words: tuple[WordTime, ...]) -> Audio:
        start = self._samples
        end = start + len(pcm) // 2
        if words:
            self._words_to = words[-1].end_char
        last_char = self._last_char
        if last_char is None:
            return await self._make(pcm, words)
        kept = tuple(word for word in words if word.start_char < last_char)
        if self._stop_sample is None and self._words_to >= last_char:
            # This may lie a little beyond the chunk that reports the word.
            stop_s = kept[-1].end_s if kept else words[0].start_s
            self._stop_sample = round(stop_s * self.form.rate_hz)
        if self._stop_sample is None or self._stop_sample > end:
            return await self._make(pcm, kept)
        return await self._stop(pcm[: 2 * max(0, self._stop_sample - start)], kept)

    async def _stop(self, pcm: bytes, words: tuple[WordTime, ...]) -> Audio:
        self.cancel()
        return await self._make(pcm, words, last=True)

    async def _make(self, pcm: bytes, words: tuple[WordTime, ...], *, last: bool = False) -> Audio:
        job = partial(self._encoded, pcm, last)
        self._encoder_ended = last
        self._samples += len(pcm) // 2
        data = job() if self.form.is_cheap else await off_loop(job)
        self._unsent += pcm
        return Audio(data=data, words=words)

    def _encoded(self, pcm: bytes, last: bool) -> bytes:
        encoder = self._encoder = self._encoder or self.form.encoder()
        data = encoder.encode(pcm)
        return data + encoder.finish() if last else data
