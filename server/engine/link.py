"""One life of the engine: a process or a thread, and the pipe to it.

A link is launched, says hello once its networks are loaded, and is lost at most once. Ending it kills a process that
does not leave by itself; a thread that hangs can only be left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from engines.config import EngineConfig
from engines.families.base import ModelSpec
from engines.messages import Command, Event, Submit
from server.engine import worker as engine_worker
from server.engine.dictionary_cache import DictionaryCache
from server.engine.launch import Launched, engine_config, launch
from server.engine.pipe import Fault, Ready, Told, frame, receive
from server.engine.watchdog import watchdog
from server.settings import EngineMode, Settings

_LEAVE_S = 1.0
_MAX_UNREAD_BYTES = 4 * 2**20  # commands that the engine has not read: about 1,000 whole texts
Worker = Callable[[socket.socket, Path | None, EngineConfig], None]


class EngineLost(Exception):
    """The engine exited, hangs or reported a fault."""


class EngineLink:
    def __init__(
        self,
        runner: BaseProcess | threading.Thread,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._runner, self._reader, self._writer = runner, reader, writer
        self._outgoing: list[Command] = []
        self._dictionaries = DictionaryCache()

    @classmethod
    async def launch(
        cls, settings: Settings, worker: Worker | None = None, launched: Launched | None = None, *, again: bool = False
    ) -> EngineLink:
        """`worker` replaces the engine's, in a thread; `launched` is a process that has been started before. `again`:
        the bundle's files may be others by now, so they are checked."""
        runner: BaseProcess | threading.Thread
        if worker is None and settings.engine_mode is EngineMode.PROCESS:
            if launched is None:
                launched = await asyncio.to_thread(launch, settings, checks_files=again)
            runner, ours, launched.taken = launched.process, launched.pipe, True
        else:
            ours, theirs = socket.socketpair()
            arguments = (theirs, settings.bundle, engine_config(settings))
            target = worker or partial(engine_worker.run, checks_files=again)
            runner = threading.Thread(target=target, args=arguments, name="engine", daemon=True)
            runner.start()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.transport.set_write_buffer_limits(high=_MAX_UNREAD_BYTES)
        return cls(runner, reader, writer)

    @property
    def pid(self) -> int | None:
        """None for a thread."""
        return self._runner.pid if isinstance(self._runner, BaseProcess) else None

    def send(self, command: Command) -> None:
        """Commands of one iteration of the event loop travel together."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._write)
        if isinstance(command, Submit) and command.option("pronunciations"):
            command = self._dictionaries.fold(command)
        self._outgoing.append(command)

    def _write(self) -> None:
        commands, self._outgoing = self._outgoing, []
        if not self._writer.is_closing():
            self._writer.write(frame(commands))

    @property
    def is_full(self) -> bool:
        """The engine has not read `_MAX_UNREAD_BYTES` of commands."""
        return self._writer.transport.get_write_buffer_size() > _MAX_UNREAD_BYTES

    async def room(self) -> None:
        """Waits while it is full; returns when the engine is gone, too."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def hello(self, within_s: float) -> ModelSpec:
        """The engine's model, once its networks are loaded."""
        try:
            async with watchdog(within_s):
                ready = await self._receive()
                assert isinstance(ready, Ready), "an engine's first word"
                return ready.spec
        except TimeoutError as error:
            raise EngineLost(f"no word from it for {within_s} s while loading") from error

    async def events(self) -> list[Event]:
        """What happened next; the engine's gauges come at least once a second, so silence means that it hangs."""
        events = await self._receive()
        assert isinstance(events, list), "it is ready once"
        return events

    async def _receive(self) -> Told:
        try:
            received = await receive(self._reader)
        except EOFError as error:
            raise EngineLost(await self._ending()) from error
        if isinstance(received, Fault):
            raise EngineLost(received.traceback)
        return received

    async def _ending(self) -> str:
        """How its side of the pipe came to an end."""
        if not isinstance(self._runner, BaseProcess):
            return "it died"
        await asyncio.to_thread(self._runner.join, _LEAVE_S)
        status = self._runner.exitcode
        if status is None:
            return "it closed its pipe"
        if status >= 0:
            return f"it ended with status {status}"
        name = signal.Signals(-status).name
        return f"{name} ended it" + (": the system does that when memory runs out" if name == "SIGKILL" else "")

    async def end(self) -> None:
        """Closes the pipe, at which the engine leaves; kills a process that does not. What it has not read is dropped:
        one that hangs reads nothing."""
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.to_thread(self._runner.join, _LEAVE_S)
        if isinstance(self._runner, BaseProcess):
            if self._runner.is_alive():
                self._runner.kill()
                await asyncio.to_thread(self._runner.join)
            self._runner.close()
