"""One utterance as the foreign dialects hear it: an `Utterance`, stretched where its speed asks for more than the
speech model does, encoded in a format, with word times in the listener's time.

Compressed formats and stretched speech are made on a worker thread, plain PCM on the event loop. The pieces of one
utterance are made in order: the next is not taken before the last one is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from engines.messages import Cancelled, Failed, Finished, WaitingForText, WordTime
from server.audio.formats import AudioFormat
from server.audio.stretch import TimeStretch, split_speed
from server.audio.workers import off_loop
from server.errors import ApiError
from server.state import State
from server.utterance import Spoken, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Bytes to send, perhaps none, and the words that ended within them. `end_s` is the audio's length so far."""

    data: bytes
    words: tuple[WordTime, ...]
    end_s: float


SpeechEvent = Sound | WaitingForText | Finished | Cancelled | Failed


class EncodedSpeech:
    def __init__(
        self,
        state: State,
        *,
        protocol: str,
        voice: str,
        form: AudioFormat,
        seed: int | None = None,
        speed: float = 1.0,
        temperature: float | None = None,
    ) -> None:
        self.form, self._state = form, state
        model_speed, self._tempo = split_speed(speed)
        self._utterance = Utterance(
            state.engine,
            state.metrics,
            protocol=protocol,
            voice=voice,
            seed=seed,
            speed=model_speed,
            rate_hz=form.rate_hz,
            temperature=temperature,
        )
        self.id, self.seed = self._utterance.id, self._utterance.seed
        state.live.add(self.id)
        self._stretch, self._encoder = TimeStretch(form.rate_hz, self._tempo), form.encoder()
        self._inline = form.is_cheap and self._tempo == 1.0
        self._unsent = b""  # PCM within bytes not yet handed to the socket, or still inside the encoder
        self._spoken_samples = 0  # before the stretch
        self._made_samples = 0  # after it
        self._last_char: int | None = None  # speak up to here, then stop
        self._stop_sample: int | None = None  # where that is, once it is known
        self._words_to = 0  # characters of the words spoken so far
        self._stopped = False  # what the engine still sends is not for the listener
        self._finished = False  # the encoder has given all it had
        self._end: Finished | Cancelled | None = None  # to be told after the last sound

    @property
    def characters(self) -> int:
        return self._utterance.characters

    def append(self, text: str, received_s: float) -> None:
        """Raises ApiError when the text grows beyond the limit."""
        limit, total = self._state.settings.max_characters, self.characters + len(text)
        if total > limit:
            raise ApiError("text_too_long", f"the text has {total} characters, the limit is {limit}", param="text")
        self._utterance.append(text, received_s)

    def flush(self) -> None:
        self._utterance.flush()

    def end(self) -> None:
        self._utterance.end()

    def cancel(self) -> None:
        """Stops at once; what the encoder holds back is lost, unless `stop_after` was called."""
        self._stopped = True
        self._utterance.cancel()

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
                case Spoken(pcm=pcm, event=chunk) if not self._stopped:
                    return await self._spoken(pcm, chunk.words)
                case WaitingForText() if not self._stopped:
                    if self._last_char is None:
                        return event
                    return await self._stop(b"", ())  # all that was flushed has been spoken
                case Finished():
                    self._end = event
                    if self._stopped:
                        break
                    return await self._make(self._utterance.rest(), (), last=True)
                case Cancelled() if self._last_char is not None and not self._finished:
                    self._end = event
                    return await self._make(b"", (), last=True)
                case Cancelled() | Failed():
                    return event
        return self._end

    def sent(self) -> None:
        """Call when a sound's bytes have been handed to the socket."""
        pcm, self._unsent = self._unsent, b""
        if pcm:
            self._utterance.sent(pcm)

    def close(self) -> None:
        """The listener is done or gone. Safe to call twice."""
        self._utterance.close()
        self._state.live.discard(self.id)

    async def _spoken(self, pcm: bytes, words: tuple[WordTime, ...]) -> Sound:
        start = self._spoken_samples
        self._spoken_samples += len(pcm) // 2
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
        if self._stop_sample is None or self._stop_sample > self._spoken_samples:
            return await self._make(pcm, kept)
        return await self._stop(pcm[: 2 * max(0, self._stop_sample - start)], kept)

    async def _stop(self, pcm: bytes, words: tuple[WordTime, ...]) -> Sound:
        self.cancel()
        return await self._make(pcm, words, last=True)

    async def _make(self, pcm: bytes, words: tuple[WordTime, ...], *, last: bool = False) -> Sound:
        job = partial(self._encoded, pcm, last)
        self._finished = last
        stretched, data = job() if self._inline else await off_loop(job)
        self._unsent += stretched
        self._made_samples += len(stretched) // 2
        heard = tuple(self._in_listeners_time(word) for word in words)
        return Sound(data=data, words=heard, end_s=self._made_samples / self.form.rate_hz)

    def _encoded(self, pcm: bytes, last: bool) -> tuple[bytes, bytes]:
        stretched = self._stretch.feed(pcm, last=last)
        data = self._encoder.encode(stretched)
        return stretched, data + self._encoder.finish() if last else data

    def _in_listeners_time(self, word: WordTime) -> WordTime:
        if self._tempo == 1.0:
            return word
        return WordTime(
            start_char=word.start_char,
            end_char=word.end_char,
            start_s=word.start_s / self._tempo,
            end_s=word.end_s / self._tempo,
        )


async def first_sound(speech: EncodedSpeech, param: str) -> Sound:
    """The first bytes. What goes wrong before them is raised, and so still has a status of its own."""
    words: tuple[WordTime, ...] = ()
    while True:
        event = await speech.next()
        match event:
            case Sound(data=data, end_s=end_s):
                words += event.words
                if data:
                    return Sound(data=data, words=words, end_s=end_s)
            case Failed(code=code, message=message, retry_after_s=retry_after_s):
                at_fault = param if code in ("unspeakable_text", "invalid_text") else None
                raise ApiError(code, message, param=at_fault, retry_after_s=retry_after_s)
            case Finished() | Cancelled():
                raise ApiError("internal_error", "the utterance ended without a sound")
