"""A small true engine for tests of the edge, and an application with sockets that need no network.

The toy speaks every word for WORD_S, as a constant sample that depends on the word, one chunk a word, at once. It sits
behind the real pipe in a thread of its own. Some words are stage directions: RAISE ends the engine, HANG stops it
without a word, FAULT fails its own utterance, MUTE is never spoken.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
import select
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from fastapi import FastAPI

from engines.config import EngineConfig
from engines.families.base import ModelSpec
from engines.families.phone_pointer.bundle import load_bundle
from engines.families.phone_pointer.family import spec_of
from engines.messages import (
    Append,
    Cancel,
    Cancelled,
    Chunk,
    Command,
    EndText,
    EngineStats,
    Event,
    Failed,
    Finished,
    Flush,
    SetPaused,
    StandBack,
    Started,
    Submit,
    Tally,
    Timings,
    WaitingForText,
    WordTime,
)
from server.app import create_app
from server.engine.pipe import EnginePipe, Fault, Ready, Told
from server.settings import Settings
from server.state import State

WORD_S = 0.1
_WORD = re.compile(r"\S+")
_TIMINGS = Timings(first_text_s=0, started_s=0, first_chunk_s=0, finished_s=0, audio_s=0, lm_steps=0, segments=1)


def word_pcm(word: str, rate_hz: int = 24_000) -> bytes:
    return (zlib.crc32(word.encode()) % 20_000).to_bytes(2, "little") * round(WORD_S * rate_hz)


@cache
def toy_spec() -> ModelSpec:
    return spec_of(load_bundle(Path("flite")))


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Voice:
    """One utterance of the toy's."""

    def __init__(self, submit: Submit) -> None:
        self.submit, self.text, self.spoken_chars, self.words = submit, "", 0, 0
        self.paused = self.complete = self.ended = self.told = False
        self.heard = 0

    def next_word(self) -> re.Match[str] | None:
        match = _WORD.search(self.text, self.spoken_chars)
        return match if match and (self.complete or match.end() < len(self.text)) else None


class _Pipe(EnginePipe):
    """Waits for its reader: the toy has nothing else to do."""

    def send(self, told: Told) -> None:
        super().send(told)
        self.flush_all(60)


class ToyEngine:
    def __init__(self, before_audio: Callable[[], None] = lambda: None) -> None:
        """`before_audio` is what making a chunk takes."""
        self.before_audio = before_audio
        self.lives = 0
        self.full = False  # rejects every new request
        self.paused = threading.Event()  # a stream has been
        self.cancelled = threading.Event()  # another has been
        self.stood_back = threading.Event()  # and another
        self.counters = {"guard_segment_too_long": 3, "finished": 7}
        self.voices: dict[str, _Voice] = {}
        self.released = threading.Event()  # ends a hang, when the test is over
        self.reads = threading.Event()  # commands; cleared, it leaves them in the pipe
        self.reads.set()

    def __call__(self, end: socket.socket, bundle: Path | None, config: EngineConfig) -> None:
        self.lives += 1
        self.voices = {}
        pipe, inbox = _Pipe(end), queue.SimpleQueue[list[Command] | None]()
        threading.Thread(target=_read, args=(pipe, inbox, self.reads), daemon=True).start()
        try:
            pipe.send(Ready(spec=toy_spec()))
            pipe.send([self._stats()])
            self._serve(pipe, inbox)
        except OSError:
            pass
        finally:
            pipe.close()

    def _serve(self, pipe: EnginePipe, inbox: queue.SimpleQueue[list[Command] | None]) -> None:
        """Takes what has come, then speaks a word of each voice; a pause is felt at the next word."""
        any_spoken = False
        while True:
            try:
                commands = inbox.get(timeout=None if any_spoken else 0.05, block=not any_spoken)
            except queue.Empty:
                commands = []
                if not any_spoken:
                    pipe.send([self._stats()])
            if commands is None:
                return
            try:
                for command in commands:
                    self._take(command, pipe)
                spoken = [self._speak(voice, pipe) for voice in list(self.voices.values())]
                any_spoken = any(spoken)
            except ZeroDivisionError as error:
                pipe.send(Fault(traceback=repr(error)))
                return

    def _stats(self) -> EngineStats:
        return EngineStats(
            running=len(self.voices), waiting=0, slots=4, lm_steps=1, lm_busy_s=0.5,
            vocoder_busy_s=0.25, capacity=3, streams_left=3 - len(self.voices),
            predicted_ttfa_s=0.04,
            counters=self.counters,
            tallies={
                "batch_rows": Tally(bounds=(1, 2, 4), counts=(5, 1, 0, 2), sum=40.0),
                "lm_step_s": Tally(bounds=(0.001, 0.01), counts=(3, 4, 0), sum=0.02),
            },
        )  # fmt: skip

    def _take(self, command: Command, pipe: EnginePipe) -> None:
        name = command.request_id
        if isinstance(command, Submit) and self.full and not name.startswith("warm-up"):
            full = "3 streams are running, this machine sustains 3"
            pipe.send([Failed(request_id=name, code="overloaded", message=full, retry_after_s=2)])
            return
        if isinstance(command, Submit):
            self.voices[name] = _Voice(command)
            pipe.send([Started(request_id=name)])
            return
        voice = self.voices.get(name)
        if voice is None:
            return
        match command:
            case Append(text=text):
                voice.text += text
                voice.heard += 1
                voice.complete = voice.told = False
            case Flush():
                voice.heard += 1
                voice.complete = True
            case SetPaused(paused=paused):
                voice.paused = paused
                if paused:
                    self.paused.set()
            case StandBack():
                self.stood_back.set()
            case Cancel():
                del self.voices[name]
                self.cancelled.set()
                pipe.send([Cancelled(request_id=name, samples=0)])
            case EndText():
                voice.complete = voice.ended = True

    def _speak(self, voice: _Voice, pipe: EnginePipe) -> bool:
        """The next word, or what there is to say when there is none. Returns whether there may be more at once."""
        name = voice.submit.request_id
        if voice.paused:
            return False
        match = voice.next_word()
        if match is None:
            self._dry(voice, pipe)
            return False
        word = match.group()
        if word == "RAISE":
            raise ZeroDivisionError("as told")
        if word == "HANG":
            self.released.wait()
        if word == "FAULT":
            del self.voices[name]
            pipe.send([Failed(request_id=name, code="engine_fault", message="not finite")])
            return False
        voice.spoken_chars = match.end()
        if word == "MUTE":
            return True
        self.before_audio()
        start_s, rate_hz = voice.words * WORD_S, voice.submit.sample_rate_hz
        voice.words += 1
        time = WordTime(start_char=match.start(), end_char=match.end(), start_s=start_s, end_s=start_s + WORD_S)
        first = round(start_s * rate_hz)
        pipe.send([Chunk(request_id=name, pcm=word_pcm(word, rate_hz), first_sample=first, words=(time,))])
        return True

    def _dry(self, voice: _Voice, pipe: EnginePipe) -> None:
        name = voice.submit.request_id
        if voice.ended and "MUTE" not in voice.text:
            del self.voices[name]
            event: Event = Finished(request_id=name, samples=0, timings=_TIMINGS)
            if not voice.words:
                event = Failed(request_id=name, code="unspeakable_text", message="at least one letter")
            pipe.send([event])
        elif voice.words and not voice.told:
            voice.told = True
            pipe.send([WaitingForText(request_id=name, spoken_samples=0, heard=voice.heard)])


def _read(pipe: EnginePipe, inbox: queue.SimpleQueue[list[Command] | None], reads: threading.Event) -> None:
    try:
        while True:
            select.select([pipe], [], [])
            reads.wait()
            for commands in pipe.received():
                inbox.put(commands)
    except (EOFError, OSError, ValueError):  # ValueError: our own end is closed
        inbox.put(None)


@asynccontextmanager
async def serving(
    toy: ToyEngine | Sequence[ToyEngine] | None = None, clock: Callable[[], float] | None = None, **settings: Any
) -> AsyncIterator[FastAPI]:
    """The whole application over a toy engine, warm. At the end nothing may be left in it."""
    toys = [toy or ToyEngine()] if toy is None or isinstance(toy, ToyEngine) else list(toy)
    clocks = {} if clock is None else {"clock": clock}
    app = create_app(Settings(**{"allowed_hosts": "here", **settings}), worker=toys, **clocks)
    state: State = app.state.parlando
    async with app.router.lifespan_context(app):
        await asyncio.wait_for(state.engine.wait_ready(), 10)
        try:
            yield app
        finally:
            for one in toys:
                one.released.set()
                one.reads.set()
        assert not state.live
        assert state.engine.active == 0
        assert state.metrics.registry.get_sample_value("tts_streams_active") == 0
        assert state.metrics.registry.get_sample_value("tts_ws_open") == 0


class Hung(Exception):
    """The application sent nothing when it should have."""


class AsgiSocket:
    """A client's end of a WebSocket. `read.clear()` stops reading: the application's sends then wait."""

    def __init__(
        self, app: FastAPI, *subprotocols: str, path: str = "/v1/audio/speech/ws", query: str = "", **headers: str
    ) -> None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self._scope = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "ws", "path": path, "raw_path": b"", "query_string": query.encode(), "root_path": "",
            "headers": [(b"host", b"here"), *raw], "client": ("test", 1), "server": ("here", 80),
            "subprotocols": list(subprotocols), "state": {},
        }  # fmt: skip
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.read = asyncio.Event()
        self.read.set()
        self.audio_left: int | None = None  # reads so many audio messages, then stops
        self.subprotocol: str | None = None

    async def __aenter__(self) -> AsgiSocket:
        self._to_app.put_nowait({"type": "websocket.connect"})
        self._running = asyncio.ensure_future(self._app(self._scope, self._to_app.get, self._take))
        self.subprotocol = (await self._next())["subprotocol"]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.raw_disconnect(1006)
        await self.ended()

    def raw_disconnect(self, code: int) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": code})

    async def ended(self) -> None:
        """The application has left."""
        self.read.set()
        await asyncio.wait_for(self._running, 10)

    async def _take(self, message: Any) -> None:
        await self.read.wait()
        self._from_app.put_nowait(message)
        if message.get("bytes") is not None and self.audio_left is not None:
            self.audio_left -= 1
            if not self.audio_left:
                self.read.clear()

    async def _next(self) -> dict[str, Any]:
        try:
            return await asyncio.wait_for(self._from_app.get(), 10)
        except TimeoutError as error:
            raise Hung from error

    @property
    def unread(self) -> int:
        """Messages that the application has not taken yet."""
        return self._to_app.qsize()

    def raw(self, **message: object) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", **message})

    def say(self, kind: str, **fields: object) -> None:
        self.raw(text=json.dumps({"type": kind, **fields}))

    async def recv(self) -> dict[str, Any] | bytes:
        """An event, audio, or {"type": "close", "code": ...}."""
        message = await self._next()
        if message["type"] == "websocket.close":
            return {"type": "close", "code": message["code"], "reason": message["reason"]}
        data = message.get("bytes")
        return data if data is not None else json.loads(message["text"])

    async def hear(self, *last: str) -> tuple[bytes, list[dict[str, Any]]]:
        """Audio and events until one of the given types."""
        pcm, events = b"", []
        while True:
            message = await self.recv()
            if isinstance(message, bytes):
                pcm += message
                continue
            events.append(message)
            if message["type"] in last:
                return pcm, events
