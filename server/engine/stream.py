"""One utterance at the engine's door: text goes in, events come out until the last one.

The outbox is bounded: when it fills, the stream's generation is paused until most of it has been taken. Nothing
comes out after the last event, and a cancel drops what was not taken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    EndText,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    StandBack,
    Submit,
)

if TYPE_CHECKING:
    from server.engine.client import EngineClient

LAST = (Finished, Cancelled, Failed)


_SUBMIT_DELAY_S = 0.005  # for so long a submit waits for the text that belongs to it


class EngineStream:
    def __init__(self, client: EngineClient, submit: Submit, high_water: int) -> None:
        self.request_id = submit.request_id
        self._client, self._high_water = client, high_water
        self._submit: Submit | None = submit  # until it is sent
        self._submit_timer: asyncio.TimerHandle | None = None
        self._outbox: deque[Event] = deque()
        self._news = asyncio.Event()
        self._paused = False
        self.taken_samples = 0
        self.ended = False  # the last event has been put into the outbox
        self.last_taken = False  # and taken from it

    def begin(self) -> None:
        """Asks for a place: with the first text, or soon without. A submit that came alone would be taken up before its
        text is there, which then had to wait for a whole step of the others."""
        self._submit_timer = asyncio.get_running_loop().call_later(_SUBMIT_DELAY_S, self._send_submit)

    def append(self, text: str) -> None:
        self._send(Append(request_id=self.request_id, text=text))

    def flush(self) -> None:
        self._send(Flush(request_id=self.request_id))

    def end(self) -> None:
        self._send(EndText(request_id=self.request_id))

    def deprioritize(self) -> None:
        """All other streams are scheduled first from here on."""
        self._send(StandBack(request_id=self.request_id))

    def cancel(self) -> None:
        """Stops at once: what was not taken is dropped and `Cancelled` comes next. Nothing after the last event."""
        if self.last_taken:
            return
        self.fail(Cancelled(request_id=self.request_id, samples=self.taken_samples))

    def fail(self, event: Cancelled | Failed) -> None:
        """Ends the stream from this side of the wall with `event`, and tells the engine."""
        self.abandon()
        self._outbox.clear()
        self.put(event)

    def abandon(self) -> None:
        """The listener is gone: stop, and forget what is still to come."""
        self._send(Cancel(request_id=self.request_id))
        self._client.forget(self)
        self.ended = True

    def put(self, event: Event) -> None:
        self._outbox.append(event)
        self.ended = isinstance(event, LAST)
        self._news.set()
        if len(self._outbox) >= self._high_water and not self._paused:
            self._pause(True)

    async def next(self) -> Event:
        """The next event. After the last one there is none to wait for."""
        while not self._outbox:
            self._news.clear()
            await self._news.wait()
        event = self._outbox.popleft()
        self.last_taken = isinstance(event, LAST)
        if isinstance(event, Chunk):
            self.taken_samples += len(event.pcm) // 2
        if self._paused and len(self._outbox) <= self._high_water // 4:
            self._pause(False)
        return event

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        self._send(SetPaused(request_id=self.request_id, paused=paused))

    def _send(self, command: Append | Flush | EndText | Cancel | SetPaused | StandBack) -> None:
        if not self.ended:
            self._send_submit()
            self._client.send(command)

    def _send_submit(self) -> None:
        if self._submit_timer is not None:
            self._submit_timer.cancel()
            self._submit_timer = None
        submit, self._submit = self._submit, None
        if submit is not None and not self.ended:
            self._client.send(submit)
