"""One context of an ElevenLabs WebSocket: text as it comes, audio and character times out, a graceful close.

Text is spoken as it comes; no schedule waits for a number of characters. A close lets finish what was flushed and drops
the rest: what the client flushed is what it wants to be heard, and an interruption closes without a flush.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress

from engines.messages import Cancelled, Failed, Finished, WordTime
from server.errors import ApiError
from server.protocols.elevenlabs.alignment import CharTimes, Span
from server.protocols.elevenlabs.messages import ClientMessage, VoiceSettings
from server.speech.encoded import EncodedSpeech
from server.speech.events import Audio
from server.speech.pronunciations import Chosen

Send = Callable[[dict[str, object]], Awaitable[object]]


class Context:
    def __init__(
        self,
        name: str | None,
        open_speech: Callable[[float, Chosen], EncodedSpeech],
        send: Send,
        *,
        phrases: bool,
        absolute: bool,
        idle_s: float,
    ) -> None:
        """`phrases`: every message is a whole phrase. `absolute`: times count from the first sample of the context.
        `idle_s`: how long it may wait for its text to begin."""
        self._idle_s = idle_s
        self._idle: asyncio.Timeout | None = None  # while it waits for its text
        self._open_speech, self._send = open_speech, send
        self._names = {} if name is None else {"contextId": name, "context_id": name}
        self._phrases, self._absolute = phrases, absolute
        self._speed = 1.0
        self._pronunciations: Chosen = ()
        self._speech: EncodedSpeech | None = None
        self._begun = asyncio.Event()  # there is speech, or it was closed without any
        self._times = CharTimes()
        self._words: list[WordTime] = []  # spoken within bytes that the encoder still holds
        self._text = ""
        self._flushed = 0  # characters that the client has flushed
        self._given_ms = 0  # end of the last character sent
        self.failure: ApiError | None = None  # the caller tells it, before `final`
        self.closing = False
        self._warnings: tuple[str, ...] = ()  # what of its text was left out, or not done as its tags ask

    # -- in --------------------------------------------------------------------------------------------------------

    def take(self, message: ClientMessage, pronunciations: Chosen, received_s: float) -> None:
        """Text, settings, dictionaries and flush. What is not text counts until the first text. Raises ApiError."""
        self._keep_alive()
        self._take_settings(message.voice_settings)
        self._pronunciations = pronunciations or self._pronunciations
        if message.text:
            self._append(message.text, received_s)
        if message.flush and self._speech is not None:
            self._speech.flush()
            self._flushed = len(self._text)

    def end(self) -> None:
        """No more text: all of it is spoken."""
        self.closing = True
        self._begun.set()
        if self._speech is not None:
            self._speech.end()

    def close(self) -> None:
        """What was flushed is spoken, behind all other streams; what was not is dropped."""
        if self.closing:
            return
        if self._speech is not None:
            self._speech.deprioritize()
        if not self._text[self._flushed :].strip():
            self.end()
            return
        self.closing = True
        assert self._speech is not None
        self._speech.stop_after(len(self._text[: self._flushed].rstrip()))

    def _take_settings(self, settings: VoiceSettings | None) -> None:
        if settings is not None and settings.speed is not None and self._speech is None:
            self._speed = settings.speed

    def _append(self, text: str, received_s: float) -> None:
        if self._speech is None:
            if not text.strip():
                return  # the blank that opens a context
            self._speech = self._open_speech(self._speed, self._pronunciations)
            self._begun.set()
        if self._phrases and text.strip() and not text[-1].isspace():
            text += " "
        self._speech.append(text, received_s)
        self._text += text
        self._times.append(text)
        if self._phrases and text.strip():
            self._speech.flush()  # nothing of a whole phrase needs to wait for the next one

    # -- out -------------------------------------------------------------------------------------------------------

    @property
    def has_text(self) -> bool:
        return self._speech is not None

    @property
    def final(self) -> dict[str, object]:
        """The last message, once `run` has returned and the name is free again."""
        told = {"warnings": list(self._warnings)} if self._warnings else {}
        return {"isFinal": True, **self._names, **told}

    async def run(self) -> None:
        """Sends everything before `final`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._idle_s) as self._idle:
                await self._begun.wait()
        self._idle = None
        self.closing = self.closing or self._speech is None  # it never got any
        if self._speech is not None:
            await self._speak(self._speech)

    def _keep_alive(self) -> None:
        """Every message about a context says that it is still wanted."""
        if self._speech is not None:
            self._speech.keep_alive()
        elif self._idle is not None and not self._idle.expired():
            self._idle.reschedule(asyncio.get_running_loop().time() + self._idle_s)

    def drop(self) -> None:
        """All was sent, or the connection is over."""
        if self._speech is not None:
            self._speech.close()

    async def _speak(self, speech: EncodedSpeech) -> None:
        while True:
            event = await speech.next()
            match event:
                case Audio():
                    await self._send_sound(speech, event)
                case Finished(warnings=warnings):
                    self._warnings = warnings
                    await self._send_rest()
                    return
                case Cancelled():
                    return
                case Failed():
                    self.failure = ApiError.of(event)
                    return

    async def _send_sound(self, speech: EncodedSpeech, sound: Audio) -> None:
        self._words += sound.words
        if not sound.data:
            return
        words, self._words = self._words, []
        await self._send_timed(sound.data, self._times.spoken(words))
        speech.sent()

    async def _send_rest(self) -> None:
        """Characters without a sound, and a blank behind the last word for clients that wait for one."""
        span = self._times.spoken(self._words)
        for more in (self._times.rest(), self._times.final_blank()):
            span.chars += more.chars
            span.starts_ms += more.starts_ms
            span.ends_ms += more.ends_ms
        if span:
            await self._send_timed(b"", span)

    async def _send_timed(self, data: bytes, span: Span) -> None:
        alignment = span.in_ms(0 if self._absolute else self._given_ms) if span else None
        if span:
            self._given_ms = span.ends_ms[-1]
        await self._send(
            {
                "audio": base64.b64encode(data).decode(),
                "isFinal": None,
                "alignment": alignment,
                "normalizedAlignment": alignment,
                **self._names,
            }
        )
