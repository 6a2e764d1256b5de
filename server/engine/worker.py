"""The engine's side of the pipe: commands in, batches of events out. Runs in a process or a thread of its own.

It knows no asyncio. It ends when the pipe closes. As a process it also ends in the middle of a call when the server is
gone, so that no engine outlives its server.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.messages import Submit
from server.engine.dictionary_cache import DictionaryCache
from server.engine.pipe import EnginePipe, Fault, Ready

_STATS_EVERY_S = 1.0
_MAX_UNSENT_BYTES = 16 * 2**20  # about 6 minutes of PCM, of all streams together
_LAST_WORDS_S = 5.0  # for a `Fault` to be read
_COLLECT_AFTER = (500, 4, 6)  # new objects; of these collections a second one; of those one of all objects


def run(end: socket.socket, bundle: Path | None, config: EngineConfig, checks_files: bool = False) -> None:
    run_engine(end, lambda: load_engine(open_bundle(bundle, checks_files=checks_files), config))


def run_engine(end: socket.socket, load: Callable[[], Engine]) -> None:
    """Sends `Ready` once the engine is loaded, then lists of events; a `Fault` if it cannot go on."""
    pipe = EnginePipe(end)
    try:
        with contextlib.suppress(OSError):  # the server is gone; a TimeoutError is one too
            try:
                _run(pipe, load())
            except Exception:
                pipe.send(Fault(traceback=traceback.format_exc()))
                pipe.flush_all(_LAST_WORDS_S)
    finally:
        pipe.close()


def _run(pipe: EnginePipe, engine: Engine) -> None:
    try:
        engine.measure()
        pipe.send(Ready(spec=engine.spec))
        _serve(pipe, engine)
    finally:
        engine.close()


def run_process(
    end: socket.socket, bundle: Path | None, config: EngineConfig, nice: int = 0, checks_files: bool = False
) -> None:
    """`run` as a child process: Ctrl-C and a hang-up reach the whole group; the server alone decides when to stop.

    With `nice` it stands behind the server: what comes in and goes out takes a fraction of a millisecond and is waited
    for, while the engine can always use a core to work ahead.
    """
    threading.Thread(target=_end_with_parent, name="leash", daemon=True).start()
    os.nice(nice)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)

    def load() -> Engine:
        engine = load_engine(open_bundle(bundle, checks_files=checks_files), config)
        keep_from_collector()
        return engine

    run_engine(end, load)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def keep_from_collector() -> None:
    """What a process has once it is set up stays until its end. Looked through again at each full collection it would
    stop every stream for a tenth of a second, every few seconds under load.

    A collection costs a microsecond an object it looks at: of what came since, few at a time, and all of it seldom.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    gc.enable()


def _serve(pipe: EnginePipe, engine: Engine) -> None:
    """Until the server is gone. A server that does not read delays no step until `_MAX_UNSENT_BYTES` wait for it;
    beyond that nothing is decoded, and commands are still taken."""
    next_stats_s, dictionaries = time.monotonic(), DictionaryCache()
    while True:
        try:
            received = pipe.received()
        except (EOFError, OSError):
            return
        for commands in received:
            for command in commands:
                if isinstance(command, Submit) and command.option("pronunciations"):
                    command = dictionaries.unfold(command)
                engine.submit(command)
        if events := engine.attend():
            pipe.send(events)  # audio that is ready does not wait for the LM
        is_full = pipe.unsent_bytes > _MAX_UNSENT_BYTES
        events = [] if is_full else engine.advance()
        if time.monotonic() >= next_stats_s:
            next_stats_s = time.monotonic() + _STATS_EVERY_S
            events.append(engine.stats())
        if events:
            pipe.send(events)
        else:
            pipe.flush()
        if is_full:
            pipe.wait(_STATS_EVERY_S)
        elif not engine.has_work:
            engine.wait(_STATS_EVERY_S, pipe)
