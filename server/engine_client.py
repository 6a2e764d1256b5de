"""The server's side of the engine: one pipe, many streams.

Whether the engine is a process or a thread is this file's private matter. If it dies, every open stream hears
`Failed`, readiness turns red and a new one is started.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from engines.loop import EngineConfig
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Command,
    EndText,
    EngineStats,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    Submit,
)
from server import engine_worker
from server.logs import get_logger
from server.pipe import frame, receive
from server.settings import EngineMode, Settings

log = get_logger()
_RESTART_DELAY_S = 0.5
_LAST = (Finished, Cancelled, Failed)


class EngineStream:
    """One utterance: text goes in, events come out until the last one."""

    def __init__(self, client: EngineClient, submit: Submit, high_water: int) -> None:
        self.request_id = submit.request_id
        self._client, self._high_water = client, high_water
        self._outbox: deque[Event] = deque()
        self._news = asyncio.Event()
        self._paused = False
        self.ended = False  # the last event has been put into the outbox

    def append(self, text: str) -> None:
        self._client.send(Append(request_id=self.request_id, text=text))

    def flush(self) -> None:
        self._client.send(Flush(request_id=self.request_id))

    def end(self) -> None:
        self._client.send(EndText(request_id=self.request_id))

    def cancel(self) -> None:
        """Asks the engine to stop; `Cancelled` follows unless the utterance ended first."""
        if not self.ended:
            self._client.send(Cancel(request_id=self.request_id))

    def abandon(self) -> None:
        """The listener is gone: stop, and forget what is still to come."""
        self.cancel()
        self._client.forget(self)

    def put(self, event: Event) -> None:
        self._outbox.append(event)
        self.ended = isinstance(event, _LAST)
        self._news.set()
        if len(self._outbox) >= self._high_water and not self._paused:
            self._pause(True)

    async def next(self) -> Event:
        """The next event. After the last one there is none to wait for."""
        while not self._outbox:
            self._news.clear()
            await self._news.wait()
        event = self._outbox.popleft()
        if self._paused and len(self._outbox) <= self._high_water // 4:
            self._pause(False)
        return event

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if not self.ended:
            self._client.send(SetPaused(request_id=self.request_id, paused=paused))


class EngineClient:
    def __init__(self, settings: Settings, on_stats: Callable[[EngineStats], None]) -> None:
        self._settings, self._on_stats = settings, on_stats
        self._streams: dict[str, EngineStream] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._outgoing: list[Command] = []
        self._runner: Any = None
        self._ready = asyncio.Event()
        self._closing = False
        self._restart: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    @property
    def active(self) -> int:
        return len(self._streams)

    async def start(self) -> None:
        """Returns once the engine has loaded its networks."""
        settings = self._settings
        config = EngineConfig(
            slots=settings.slots, lm_threads=settings.lm_threads, vocoder_threads=settings.vocoder_threads
        )
        ours, theirs = socket.socketpair()
        if settings.engine_mode is EngineMode.PROCESS:
            context = multiprocessing.get_context("spawn")
            self._runner = context.Process(
                target=engine_worker.run_process, args=(theirs, settings.bundle, config), name="parlando-engine"
            )
            self._runner.daemon = True
            await asyncio.to_thread(self._runner.start)
            theirs.close()
        else:
            self._runner = threading.Thread(
                target=engine_worker.run, args=(theirs, settings.bundle, config), name="engine", daemon=True
            )
            self._runner.start()
        ours.setblocking(False)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._reading = asyncio.create_task(self._read(reader))
        await self._ready.wait()

    async def close(self) -> None:
        self._closing = True
        if self._restart is not None:
            self._restart.cancel()
        self._disconnect()
        if self._reading is not None:
            self._reading.cancel()
        if self._runner is not None:
            await asyncio.to_thread(self._runner.join, 5)

    def open(self, submit: Submit) -> EngineStream:
        stream = EngineStream(self, submit, self._settings.outbox_chunks)
        self._streams[submit.request_id] = stream
        if not self.ready:
            message = "the engine is starting; try again in a moment"
            self._end(stream, Failed(request_id=submit.request_id, code="not_ready", message=message, retry_after_s=1))
            return stream
        self.send(submit)
        return stream

    def forget(self, stream: EngineStream) -> None:
        self._streams.pop(stream.request_id, None)

    def send(self, command: Command) -> None:
        """Commands of one turn of the event loop travel together."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._write)
        self._outgoing.append(command)

    def _write(self) -> None:
        commands, self._outgoing = self._outgoing, []
        if self._writer is not None:
            self._writer.write(frame(commands))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                received = await receive(reader)
                if received == engine_worker.READY:
                    self._ready.set()
                    continue
                for event in received:
                    self._take(event)
        except EOFError:
            self._lost()

    def _take(self, event: Event) -> None:
        if isinstance(event, EngineStats):
            self._on_stats(event)
            return
        stream = self._streams.get(event.request_id)
        if stream is None:
            return
        if isinstance(event, _LAST):
            self._end(stream, event)
        else:
            stream.put(event)

    def _end(self, stream: EngineStream, event: Event) -> None:
        self._streams.pop(stream.request_id, None)
        stream.put(event)

    def _disconnect(self) -> None:
        self._ready.clear()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _lost(self) -> None:
        """The engine died: its streams fail, a new engine is started."""
        if self._writer is None:
            return
        self._disconnect()
        for stream in list(self._streams.values()):
            message = "the engine stopped; the utterance is lost, try again"
            self._end(stream, Failed(request_id=stream.request_id, code="engine_fault", message=message))
        if not self._closing:
            log.error("engine_lost")
            self._restart = asyncio.ensure_future(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(_RESTART_DELAY_S)  # a crash at once must not spin
        await self.start()
        log.info("engine_restarted")
