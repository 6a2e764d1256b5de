"""Utterances whose connection broke, kept for `RESUME_S` on the server that speaks them.

Nothing is made again for a listener that comes back here: the engine holds the stream, paused once its outbox is full,
and the last audio that was handed to the socket is kept, since the network may have lost it. That also works where a
seed does not fix the audio. Other replicas know nothing of it and generate again (resume.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from engines.messages import Cancelled, Failed, WaitingForText, WordTime
from server.access import Caller, current_caller
from server.shutdown import Shutdown
from server.speech.events import Audio, SpeechEvent
from server.speech.utterance import Utterance

_TAIL_BYTES = 2**20  # 22 s at 24 kHz: more than our send buffer and what a client buffers unread
_SHARE = 1 / 4  # of the slots, that utterances without a listener may hold


class Resumable:
    """An utterance and what of it may be lost on the way."""

    def __init__(self, utterance: Utterance) -> None:
        self.utterance, self.caller = utterance, current_caller()
        self.let_go: Callable[[], None] = lambda: None  # its connection speaks it no longer
        self.text_ended = False
        self.words: list[WordTime] = []  # that have been sent
        self.waiting: WaitingForText | None = None  # follows the last audio
        self.unsent = b""  # the last audio, until it has been handed to the socket
        self.has_failed = False
        self._tail, self._end_bytes = bytearray(), 0
        self._coming: asyncio.Future[SpeechEvent] | None = None

    async def next(self) -> SpeechEvent:
        """As the utterance's. A caller that is cancelled loses nothing: the event is there for the next one."""
        if self._coming is None:
            self._coming = asyncio.ensure_future(self.utterance.next())
        event = await asyncio.shield(self._coming)
        self._coming = None
        if isinstance(event, Audio):
            self._tail += event.data
            self._end_bytes += len(event.data)
            self.unsent = event.data
            del self._tail[:-_TAIL_BYTES]
        self.has_failed = isinstance(event, Failed | Cancelled)
        self.waiting = event if isinstance(event, WaitingForText) else None
        return event

    def sent(self, words: Sequence[WordTime]) -> None:
        self.unsent = b""
        self.words += words

    def behind(self, sample: int) -> bytes | None:
        """What was sent behind the first `sample` samples; None where it is not known any more, or never was sent."""
        left = self._end_bytes - 2 * sample
        if not 0 <= left <= len(self._tail):
            return None
        return bytes(self._tail[len(self._tail) - left :])

    def words_behind(self, sample: int) -> list[WordTime]:
        """Those that the listener may not have seen."""
        return [word for word in self.words if word.end_s * self.utterance.rate_hz >= sample]

    def has_sent(self, text: str, flushes: Sequence[int], ended: bool) -> bool:
        """This request may be its own, with text that was lost on the way."""
        known, known_flushes = self.utterance.transcript.text, self.utterance.flushes
        new_flushes = flushes[len(known_flushes) :]
        if not text.startswith(known) or list(flushes[: len(known_flushes)]) != known_flushes:
            return False
        if self.text_ended:
            return ended and text == known and not new_flushes
        return all(place >= len(known) for place in new_flushes)

    def close(self) -> None:
        if self._coming is not None:
            self._coming.cancel()
        self.utterance.close()


class KeptUtterances:
    def __init__(self, for_s: float, slots: int, shutdown: Shutdown) -> None:
        self.for_s, self._most = for_s, max(1, int(_SHARE * slots))
        self._shutdown = shutdown
        self._kept: dict[Resumable, asyncio.Task[None]] = {}  # the oldest first
        self._attached: set[Resumable] = set()  # to connections, which may be broken and not known to be

    def attach(self, resumable: Resumable) -> None:
        self._attached.add(resumable)

    def detach(self, resumable: Resumable) -> None:
        self._attached.discard(resumable)

    def keep(self, resumable: Resumable) -> None:
        """For so long, and not beyond the begin of a drain: a listener that comes back is sent elsewhere then."""
        resumable.utterance.listener_left()
        self._kept[resumable] = asyncio.create_task(self._expire(resumable))
        if len(self._kept) > self._most:
            self._drop(next(iter(self._kept)))

    def take(
        self, resume_id: str, caller: Caller | None, *, text: str, flushes: Sequence[int], ended: bool
    ) -> Resumable | None:
        for found in (*self._kept, *self._attached):
            is_same = found.utterance.name_without_text == resume_id and found.caller is caller
            if is_same and not found.has_failed and found.has_sent(text, flushes, ended):
                if found in self._kept:
                    self._kept.pop(found).cancel()
                found.let_go()
                return found
        return None

    def close(self) -> None:
        for kept in list(self._kept):
            self._drop(kept)

    async def _expire(self, resumable: Resumable) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.for_s):
                await self._shutdown.draining_begins()
        del self._kept[resumable]
        resumable.close()

    def _drop(self, resumable: Resumable) -> None:
        self._kept.pop(resumable).cancel()
        resumable.close()
