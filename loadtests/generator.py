"""The process that makes the load: plays a plan against a server and hands back what it stamped.

It is a process of its own so that progress bars, sampling and judging cannot delay a send. Python's collector is off
while it runs, its priority is raised where it may be, and its loop is uvloop where there is one. It measures its own
lag, at every send and by a metronome: a reader of its stamps must know how true they are.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import resource
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

from websockets.uri import parse_uri

from loadtests import priority
from loadtests.arrivals import Planned
from loadtests.client_http import HttpListener
from loadtests.client_ws import PATH, Listener
from loadtests.recording import Recording
from loadtests.texts import Feeding

_LEAD_IN_S = 0.5  # between the start and the level's zero: every first connection is opened in good time
_TICK_S = 0.005
_TELL_S = 0.5
_SOCKETS = 65_536
_ONE_BY_ONE_S = 5.0  # allowed for each stream, where one waits for another


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    url: str  # ws://host:port
    streams: tuple[Planned, ...]
    connect_ahead_s: float = 0.25  # the handshake is measured apart
    give_up_s: float = 45.0  # after the last stream's schedule
    one_by_one: bool = False  # each is sent when the one before has ended, whatever its schedule


@dataclass(slots=True)
class Stamped:
    """All that came of a plan."""

    recordings: list[Recording] = field(default_factory=list)
    send_lag_s: array[float] = field(default_factory=lambda: array("d"))
    tick_lag_s: array[float] = field(default_factory=lambda: array("d"))
    loop: str = ""
    priority: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    opened: int
    ended: int


def generate(plan: Plan, pipe: Connection) -> None:
    """The child process's whole life: Progress now and then, then Stamped."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _many_sockets()
    raised = priority.raise_own()
    runner, loop_name = _loop()
    gc.collect()
    gc.freeze()
    gc.disable()
    priority.hold_memory()
    with runner:
        stamped = runner.run(_Generator(plan, lambda progress: pipe.send(progress)).run())
    stamped.loop, stamped.priority = loop_name, raised
    pipe.send(stamped)
    pipe.close()


def _end_with_parent() -> None:
    """Streams of a load test that was killed are of no use to it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _many_sockets() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _SOCKETS)), hard))


def _loop() -> tuple[asyncio.Runner, str]:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner(), "asyncio"
    return asyncio.Runner(loop_factory=uvloop.new_event_loop), "uvloop"


class _Generator:
    def __init__(self, plan: Plan, tell: Callable[[Progress], None]) -> None:
        self._plan, self._tell = plan, tell
        self._uri = parse_uri(plan.url + PATH)
        self._stamped = Stamped()
        self._epoch_s = time.monotonic() + _LEAD_IN_S
        self._waiting = list(reversed(plan.streams))
        self._live: set[Listener | HttpListener] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._all_over = asyncio.Event()
        self._ended = 0
        self._bug: BaseException | None = None

    async def run(self) -> Stamped:
        started_s, cpu_s = time.monotonic(), time.process_time()
        self._epoch_s = started_s + _LEAD_IN_S
        asyncio.get_running_loop().set_exception_handler(self._broken)
        self._tick(self._clock() + _TICK_S)
        self._report()
        self._open_due()
        last_s = self._plan.streams[-1].at_s if self._plan.streams else 0.0
        if self._plan.one_by_one:
            last_s = _ONE_BY_ONE_S * len(self._plan.streams)
        try:
            async with asyncio.timeout(_LEAD_IN_S + last_s + self._plan.give_up_s):
                await self._all_over.wait()
        except TimeoutError:
            for listener in list(self._live):
                listener.give_up(f"no last event {self._plan.give_up_s:g} s after the last was due")
        await asyncio.gather(*self._opening, return_exceptions=True)
        if self._bug is not None:
            raise self._bug
        self._stamped.wall_s = time.monotonic() - started_s
        self._stamped.cpu_s = time.process_time() - cpu_s
        return self._stamped

    def _clock(self) -> float:
        return time.monotonic() - self._epoch_s

    def _open_due(self) -> None:
        """Opens the sockets of all streams that are soon to speak."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            wait_s = self._waiting[-1].at_s - self._plan.connect_ahead_s - self._clock()
            if self._plan.one_by_one and self._live:
                return
            if wait_s > 0:
                loop.call_later(wait_s, self._open_due)
                return
            planned = self._waiting.pop()
            if self._plan.one_by_one:
                planned = replace(planned, at_s=max(0.0, self._clock()))
            kind = HttpListener if planned.feeding is Feeding.HTTP else Listener
            listener = kind(planned, self._uri, self._clock, self._stamped.send_lag_s.append, self._over)
            self._live.add(listener)
            task = loop.create_task(self._connect(listener))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _connect(self, listener: Listener | HttpListener) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: listener, self._uri.host, self._uri.port)
        except OSError as error:
            listener.give_up(f"no connection: {error}")

    def _over(self, listener: Listener | HttpListener) -> None:
        self._live.discard(listener)
        self._stamped.recordings.append(listener.recording)
        self._ended += 1
        if not self._waiting and not self._live:
            self._all_over.set()
        elif self._plan.one_by_one:
            asyncio.get_running_loop().call_soon(self._open_due)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault in a callback is ours: no level may be published that lost a stream to it."""
        self._bug = context.get("exception") or RuntimeError(context["message"])
        self._all_over.set()

    def _tick(self, due_s: float) -> None:
        """A metronome: how late a timer comes is how late a stamp may be."""
        now_s = self._clock()
        self._stamped.tick_lag_s.append(max(0.0, now_s - due_s))
        next_s = max(due_s, now_s) + _TICK_S
        asyncio.get_running_loop().call_later(next_s - now_s, self._tick, next_s)

    def _report(self) -> None:
        self._tell(Progress(len(self._live) + self._ended, self._ended))
        asyncio.get_running_loop().call_later(_TELL_S, self._report)
