"""One utterance that may change its engine: what was said to the old one is said to the new one.

It has an `EngineStream`'s form. The new engine makes the same samples again, and those that were taken are dropped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engines.errors import Overloaded
from engines.messages import Cancelled, Chunk, Event, Failed, Started, Submit, WaitingForText
from server.engine.stream import EngineStream
from server.logs import get_logger

if TYPE_CHECKING:
    from server.engine.client import EngineClient
    from server.engine.pool import EnginePool

log = get_logger()
_FLUSH = None  # among texts


class MovingStream:
    def __init__(self, pool: EnginePool, submit: Submit) -> None:
        self.request_id = submit.request_id
        self._pool, self._submit = pool, submit
        self._said: list[str | None] = []  # texts and flushes
        self._ended = self._stands_back = self._started = False
        self._moves_left = 1
        self._taken_samples = 0  # by the reader
        self._made_samples = 0  # by the engine of now
        self._words_to = 0  # characters of the words that were taken
        client = pool.choose() or pool.clients[0]  # which says that it is not ready
        self._client: EngineClient = client
        self._stream: EngineStream = client.open(submit)

    @property
    def ended(self) -> bool:
        return self._stream.ended

    @property
    def last_taken(self) -> bool:
        return self._stream.last_taken

    def append(self, text: str) -> None:
        self._said.append(text)
        self._stream.append(text)

    def flush(self) -> None:
        self._said.append(_FLUSH)
        self._stream.flush()

    def end(self) -> None:
        self._ended = True
        self._stream.end()

    def deprioritize(self) -> None:
        self._stands_back = True
        self._stream.deprioritize()

    def cancel(self) -> None:
        if not self.last_taken:
            self.fail(Cancelled(request_id=self.request_id, samples=self._taken_samples))

    def fail(self, event: Cancelled | Failed) -> None:
        self._moves_left = 0
        self._stream.fail(event)

    def abandon(self) -> None:
        self._moves_left = 0
        self._stream.abandon()

    async def next(self) -> Event:
        while True:
            event = await self._stream.next()
            if isinstance(event, Failed) and self._has_moved(event):
                continue
            if (new := self._new(event)) is not None:
                return new

    def _has_moved(self, failed: Failed) -> bool:
        """A rejected start, or the streams of an engine that died."""
        lost = failed.code == "engine_lost"
        if not self._moves_left or not (lost or (failed.code in (Overloaded.code, "not_ready") and not self._started)):
            return False
        target = self._pool.choose(beside=self._client)
        if target is None or (self._taken_samples and not self._same_samples(target)):
            return False
        self._moves_left -= 1
        if lost:
            log.warning("stream_moved", request_id=self.request_id, samples=self._taken_samples)
        self._client, self._made_samples = target, 0
        self._stream = target.open(
            replace(self._submit, heard_samples=max(self._submit.heard_samples, self._taken_samples))
        )
        for text in self._said:
            if text is _FLUSH:
                self._stream.flush()
            else:
                self._stream.append(text)
        if self._ended:
            self._stream.end()
        if self._stands_back:
            self._stream.deprioritize()
        return True

    def _same_samples(self, target: EngineClient) -> bool:
        return self._pool.exact and target.arithmetic == self._client.arithmetic

    def _new(self, event: Event) -> Event | None:
        """None for what an earlier engine has told."""
        match event:
            case Started():
                self._started, told = True, self._started
                return None if told else event
            case WaitingForText() if self._made_samples < self._taken_samples:
                return None
            case Chunk(pcm=pcm, words=words):
                dropped = min(self._taken_samples - self._made_samples, len(pcm) // 2)
                self._made_samples += len(pcm) // 2
                self._taken_samples = max(self._taken_samples, self._made_samples)
                words = tuple(word for word in words if word.end_char > self._words_to)
                self._words_to = words[-1].end_char if words else self._words_to
                if not dropped:
                    return event if words == event.words else replace(event, words=words)
                rest = pcm[2 * dropped :]
                first = event.first_sample + dropped
                return replace(event, pcm=rest, first_sample=first, words=words) if rest or words else None
        return event
