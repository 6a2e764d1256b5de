"""Utterances one after another on a WebSocket: text in, events out, and answers that keep their place among them.

    queue    utterance   utterance   answer      utterance     each a task that waits for the one before it
    sent     audio*    | audio*    | "Flushed" | audio* ...

Each is generated as its text comes and sent after the one before; queues do not wait for one another.
A protocol derives from `UtteranceSocket`. When the connection ends, every task ends and every utterance is closed.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable

from engines.messages import Cancelled, Failed, Finished
from server.errors import ApiError
from server.http.websocket import Closed, Outgoing, Received, WebSocketChannel
from server.shutdown import DRAINING
from server.speech.encoded import EncodedSpeech
from server.speech.events import SpeechEvent
from server.state import State

_Work = Callable[[], Awaitable[None]]
_UNREAD = 64  # utterances and answers beyond `max_contexts` that the client has not read yet


class SocketUtterance:
    """One utterance, and what of it waits to be sent."""

    def __init__(self, speech: EncodedSpeech) -> None:
        self.speech, self.outgoing = speech, Outgoing()
        self.text_ended = False
        self.over = False  # its last event has come

    def append(self, text: str, received_s: float) -> None:
        """Raises ApiError beyond a limit."""
        self.speech.append(text, received_s)

    def end(self) -> None:
        self.text_ended = True
        self.speech.end()

    def cancel(self, played_s: float | None = None) -> None:
        """Nothing of it is sent from here on."""
        self.speech.cancel(played_s)
        self.outgoing.withdraw()


class UtteranceSocket(ABC):
    idle_s: float | None = None  # None: the setting

    def __init__(self, channel: WebSocketChannel, state: State) -> None:
        self.channel, self.state = channel, state
        self.live: set[SocketUtterance] = set()  # last event not yet come
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: dict[Hashable, asyncio.Task[None]] = {}  # of each queue
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._leave_when_drained())
                await self.greet()
                while True:
                    await self._receive()
        except* Closed:
            pass

    async def _receive(self) -> None:
        received: Received | None = None
        try:
            received = await self.channel.receive(self.idle_s)
            await self.handle(received)
        except ApiError as error:
            self.state.refused(error)
            await self.tell(error, None if received is None else received.text)

    # -- what a protocol says --------------------------------------------------------------------------------------

    @abstractmethod
    async def greet(self) -> None:
        """Says what comes before anything is read."""

    @abstractmethod
    async def handle(self, received: Received) -> None:
        """Acts on a message. Raises ApiError."""

    @abstractmethod
    async def tell(self, error: ApiError, message: str | None = None) -> None:
        """An error about `message`, or of the connection."""

    @abstractmethod
    async def pass_on(self, utterance: SocketUtterance, event: SpeechEvent) -> None:
        """Tells the client of an event of an utterance."""

    # -- utterances -----------------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Call before an utterance is opened. Raises ApiError."""
        self.state.check_accepting()
        limit = self.state.settings.max_contexts
        if len(self.live) >= limit:
            message = f"{len(self.live)} utterances are in progress on this socket, which is its limit; end one"
            raise ApiError("too_many_contexts", message)

    def add(self, utterance: SocketUtterance, queue: Hashable = None) -> None:
        self.live.add(utterance)
        task = self._enqueue(lambda: self._speak(utterance), queue)
        task.add_done_callback(lambda _: self._drop(utterance))

    def answer(self, saying: _Work, queue: Hashable = None) -> None:
        """Runs behind all that is queued. Raises ApiError when the client does not read its answers."""
        if len(self._tasks) > self.state.settings.max_contexts + _UNREAD:
            raise ApiError("too_many_contexts", f"{len(self._tasks)} answers wait to be read; read them first")
        self._enqueue(saying, queue)

    def _enqueue(self, work: _Work, queue: Hashable) -> asyncio.Task[None]:
        assert self._group is not None, "nothing is queued before `run`"
        task = self._group.create_task(_after(self._last.get(queue), work))
        self._last[queue] = task
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._forget(ended, queue))
        return task

    def _forget(self, task: asyncio.Task[None], queue: Hashable) -> None:
        self._tasks.discard(task)
        if self._last.get(queue) is task:
            del self._last[queue]

    async def _speak(self, utterance: SocketUtterance) -> None:
        while not utterance.over:
            event = await utterance.speech.next()
            if isinstance(event, Finished | Cancelled | Failed):
                utterance.over = True
                self.live.discard(utterance)  # before the client hears of it and may begin another
            await self.pass_on(utterance, event)

    def _drop(self, utterance: SocketUtterance) -> None:
        """It is over, or the connection is."""
        self.live.discard(utterance)
        utterance.speech.close()

    async def tell_and_close(self, error: ApiError, told: dict[str, object]) -> None:
        """For protocols whose errors end the connection. A server that is full or stops lets speak what speaks."""
        if error.kind.closes_idle_only and self.live:
            await self.channel.send(told)
        else:
            await self.channel.close(error.final_close, error.code, last=told)

    async def _leave_when_drained(self) -> None:
        """A socket that speaks may finish; one that is idle is asked to connect elsewhere."""
        await self.state.shutdown.draining_begins()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self.tell(ApiError("draining", DRAINING))


async def _after(predecessor: asyncio.Task[None] | None, work: _Work) -> None:
    if predecessor is not None:
        await asyncio.wait([predecessor])
    await work()
