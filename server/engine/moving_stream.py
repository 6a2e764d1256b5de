"""One utterance that may change its engine: what the old one was sent is sent to the new one.

It has an `EngineStream`'s form. The new engine makes the same samples again, and those that were taken are dropped.

    rejected start      tried once on the next engine
    engine lost         goes on where it stopped: on another engine, or once one is started again
    lost again          goes on if it has moved ahead since; what ends every engine that speaks it is given up
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from engines.errors import Overloaded
from engines.messages import Cancelled, Chunk, Event, Failed, Started, Submit, WaitingForText
from server.engine.stream import LAST, EngineStream
from server.logs import get_logger

if TYPE_CHECKING:
    from server.engine.client import EngineClient
    from server.engine.pool import EnginePool

log = get_logger()
_REJECTED = (Overloaded.code, "not_ready")


class MovingStream:
    def __init__(self, pool: EnginePool, submit: Submit) -> None:
        self.request_id = submit.request_id
        self._pool, self._submit = pool, submit
        self._told: list[Callable[[EngineStream], None]] = []  # to the engine, of its text
        self._started = False
        self.last_taken = False
        self._given_up = False  # by its reader
        self._was_retried = False  # after a rejected start
        self._taken_samples = 0  # by the reader
        self._made_samples = 0  # by the engine of now
        self._lost_at: int | None = None  # samples that were taken when an engine was last lost
        self._words_to = 0  # characters of the words that were taken
        self._engine_ready = asyncio.Event()
        self._client: EngineClient = pool.choose() or pool.refusing()
        self._stream: EngineStream = self._client.open(submit)

    def append(self, text: str) -> None:
        self._tell(lambda stream: stream.append(text))

    def flush(self) -> None:
        self._tell(EngineStream.flush)

    def end(self) -> None:
        self._tell(EngineStream.end)

    def deprioritize(self) -> None:
        self._tell(EngineStream.deprioritize)

    def _tell(self, what: Callable[[EngineStream], None]) -> None:
        self._told.append(what)
        what(self._stream)

    def cancel(self) -> None:
        if not self.last_taken:
            self.fail(Cancelled(request_id=self.request_id, samples=self._taken_samples))

    def fail(self, event: Cancelled | Failed) -> None:
        self._give_up()
        self._stream.fail(event)

    def abandon(self) -> None:
        self._give_up()
        self._stream.abandon()

    def _give_up(self) -> None:
        self._given_up = True
        self._engine_ready.set()  # waits no longer

    async def next(self) -> Event:
        while True:
            event = await self._stream.next()
            if isinstance(event, Failed) and await self._moves(event):
                continue
            if (new := self._new(event)) is not None:
                self.last_taken = isinstance(new, LAST)
                return new

    async def _moves(self, failed: Failed) -> bool:
        """Returns whether there is another event instead of this one."""
        if self._given_up:
            return False
        if failed.code == "engine_lost":
            if self._lost_at is not None and self._taken_samples <= self._lost_at:
                return False
            if self._taken_samples and not self._pool.exact:
                return False
            self._lost_at = self._taken_samples
            target = self._pool.choose() or await self._engine_that_comes()
        elif failed.code in _REJECTED and self._lost_at is not None and self._pool.expects(self._client):
            target = self._pool.choose(beside=self._client) or await self._engine_that_comes()
        elif failed.code in _REJECTED and not self._started and not self._was_retried:
            self._was_retried, target = True, self._pool.choose(beside=self._client)
        else:
            return False
        if self._given_up:
            return True
        if target is None or (self._taken_samples and target.arithmetic != self._client.arithmetic):
            return False
        if self._lost_at is not None:
            log.warning("stream_moved", request_id=self.request_id, samples=self._taken_samples)
        self._go_on(target)
        return True

    async def _engine_that_comes(self) -> EngineClient | None:
        with self._pool.telling_ready(self._engine_ready):
            while not self._given_up and (target := self._pool.choose()) is None:
                self._engine_ready.clear()
                await self._engine_ready.wait()
        return None if self._given_up else target

    def _go_on(self, target: EngineClient) -> None:
        """From the start; what was taken counts as heard."""
        heard = max(self._submit.heard_samples, self._taken_samples)
        submit = replace(self._submit, heard_samples=heard, is_admitted=self._lost_at is not None)
        self._client, self._made_samples = target, 0
        self._stream = target.open(submit)
        for what in self._told:
            what(self._stream)

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
