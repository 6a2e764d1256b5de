"""The server's side of the engine: many streams over one link, supervised.

The engine is started, warmed with a first utterance, and only then `ready`. When it dies, hangs or gives up, every
open stream hears `Failed` at once, readiness turns red, and a new one is started and warmed. A fault of one stream
triggers a probe utterance: an engine that fails it is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from engines.errors import EngineFault, Overloaded
from engines.families.base import ModelSpec
from engines.messages import Command, EngineStats, Event, Failed, Submit
from server.engine.launch import Launched
from server.engine.link import EngineLink, EngineLost, Worker
from server.engine.stream import LAST, EngineStream
from server.engine.watchdog import watchdog
from server.logs import get_logger
from server.settings import Settings

log = get_logger()
_RESTART_DELAYS_S = (0.1, 0.5, 2.0, 5.0)  # a crash at once must not spin
_LOAD_S, _LOAD_BYTES_S = 120.0, 10e6  # weights of gigabytes may lie on a slow disk, or the machine be shared
_TRIES_ON_A_DEVICE = 3  # engines that may end there before they are ready
_WARM_UP_S = 60.0
_WARM_UP, _PROBE_AUDIO_S = "Ready to speak.", 2.0


class EngineClient:
    def __init__(
        self,
        settings: Settings,
        *,
        voice: str,
        bundle_digest: str = "",
        on_ready: Callable[[], None] = lambda: None,
        on_stats: Callable[[EngineStats | None, int], None] = lambda stats, restarts: None,
        worker: Worker | None = None,
        launched: Launched | None = None,
    ) -> None:
        """`voice` speaks the warm-up; `on_stats` hears the gauges (None: no engine) and how often it was restarted.

        `worker` replaces the engine's side of the pipe; `launched` is the engine's first process.
        """
        self.settings, self.bundle_digest = settings, bundle_digest
        self.restarts = 0
        self.arithmetic = ""  # the kind of kernels, once an engine has told it: part of every id
        self.stats: EngineStats | None = None  # at most a second old; None: there is no engine
        self._voice, self._on_ready, self._on_stats, self._worker = voice, on_ready, on_stats, worker
        self._launched = launched
        self._streams: dict[str, EngineStream] = {}
        self._link: EngineLink | None = None
        self._ready = asyncio.Event()
        self.spec: ModelSpec | None = None  # of the engine's model, once it is told
        self._probe_due = asyncio.Event()  # a stream has failed: find out whether others would
        self._probe_id = ""  # request id of the last probe
        self._probes = 0  # probes so far
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """The warm-up utterance of this engine has been synthesized."""
        return self._ready.is_set()

    @property
    def active(self) -> int:
        """Streams of callers."""
        return len(self._streams) - (self._probe_id in self._streams)

    @property
    def pid(self) -> int | None:
        """Of the engine's process; None while there is none, as in a thread."""
        return self._link.pid if self._link is not None else None

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def start(self) -> None:
        """Starts the engine and its supervision; `wait_ready` tells when it can be used."""
        self._supervisor = asyncio.create_task(self._supervise())

    async def close(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor

    def open(self, submit: Submit) -> EngineStream:
        stream = EngineStream(self, submit, self.settings.outbox_chunks)
        if not self.ready:
            return self._rejected(stream, "not_ready", "the engine is starting; try again in a moment")
        if self.is_full:
            return self._rejected(stream, Overloaded.code, "the engine is behind; try again in a moment")
        return self._begin(stream)

    def forget(self, stream: EngineStream) -> None:
        self._streams.pop(stream.request_id, None)

    def send(self, command: Command) -> None:
        if self._link is not None:
            self._link.send(command)

    @property
    def is_full(self) -> bool:
        """So many commands wait for the engine that new streams are rejected."""
        return self._link is not None and self._link.is_full

    async def room(self) -> None:
        """Waits until the engine has read most of its commands."""
        if self._link is not None:
            await self._link.room()

    @staticmethod
    def _rejected(stream: EngineStream, code: str, message: str) -> EngineStream:
        stream.put(Failed(request_id=stream.request_id, code=code, message=message, retry_after_s=1))
        return stream

    def _begin(self, stream: EngineStream) -> EngineStream:
        self._streams[stream.request_id] = stream
        stream.begin()
        return stream

    # -- life ------------------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        quick_deaths = 0
        while True:
            was_ready = False
            try:
                launched, self._launched = self._launched, None
                again = self.restarts > 0
                settings = self.settings if quick_deaths < _TRIES_ON_A_DEVICE else _without_device(self.settings)
                self._link = await EngineLink.launch(settings, self._worker, launched, again=again)
                self.spec = await self._link.hello(load_within_s(self.settings.bundle))
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(self._link))
                    await self._probe()
                    was_ready = True
                    self._ready.set()
                    self._on_ready()
                    self._log_ready(self.spec)
                    while True:
                        await self._probe_due.wait()
                        self._probe_due.clear()
                        await self._probe()
            except* (EngineLost, OSError) as lost:
                log.error("engine_lost", reason=str(lost.exceptions[0]), streams=len(self._streams))
            except* Exception:  # a bug of the client's; the server goes on, and so must the engine
                log.exception("engine_lost", streams=len(self._streams))
            finally:
                await self._lost()
            quick_deaths = 0 if was_ready else quick_deaths + 1
            await asyncio.sleep(_RESTART_DELAYS_S[min(quick_deaths, len(_RESTART_DELAYS_S) - 1)])

    def _log_ready(self, spec: ModelSpec) -> None:
        stats, runs = self.stats, dict[str, object]()
        if stats is not None:
            runs = {"device": stats.device, "kernels": stats.kernels, "rtf": round(stats.lone_rtf, 3)}
        log.info("ready", family=spec.family, voice=self._voice, restarts=self.restarts, **runs)
        if stats is not None and stats.lone_rtf > 1:
            means = f"one stream takes {stats.lone_rtf:.1f} s for a second of audio here: listeners hear gaps"
            log.warning("not_real_time", rtf=round(stats.lone_rtf, 3), means=means)

    async def _probe(self) -> None:
        """Synthesizes a discarded utterance, which warms up lazy pages and kernels too. At most `_PROBE_AUDIO_S` of it:
        a model that finds its own end may speak long."""
        self._probes += 1
        self._probe_id = f"warm-up-{self._probes}"
        submit = Submit(request_id=self._probe_id, voice=self._voice, seed=0)
        stream = self._begin(EngineStream(self, submit, self.settings.outbox_chunks))
        stream.append(_WARM_UP)
        stream.end()
        try:
            async with watchdog(_WARM_UP_S) as silence:
                while not stream.last_taken:
                    event = await stream.next()
                    silence.reset()
                    if stream.taken_samples >= _PROBE_AUDIO_S * submit.sample_rate_hz:
                        stream.cancel()
        except TimeoutError as error:
            raise EngineLost(f"no audio of the warm-up for {_WARM_UP_S} s") from error
        if isinstance(event, Failed) and event.code != Overloaded.code:  # a full engine speaks
            raise EngineLost(f"the warm-up failed: {event.code}: {event.message}")

    async def _lost(self) -> None:
        """Not ready at once, before anything is awaited."""
        self._ready.clear()
        self._probe_due.clear()
        self.restarts += 1
        self.stats = None
        self._on_stats(None, self.restarts)
        link, self._link = self._link, None
        for stream in list(self._streams.values()):
            message = "the engine stopped and is being started again; the utterance is lost, try again"
            lost = Failed(request_id=stream.request_id, code="engine_lost", message=message, retry_after_s=1)
            self._deliver_last(stream, lost)
        if link is not None:
            await link.end()

    async def _read(self, link: EngineLink) -> None:
        within_s = self.settings.engine_silence_s
        try:
            async with watchdog(within_s) as silence:
                while True:
                    events = await link.events()
                    silence.reset()
                    for event in events:
                        self._take(event)
        except TimeoutError as error:
            raise EngineLost(f"no word from it for {within_s} s while stepping") from error

    def _take(self, event: Event) -> None:
        if isinstance(event, EngineStats):
            before, self.stats = self.stats, event
            self.arithmetic = event.arithmetic
            self._on_stats(event, self.restarts)
            # Twice: a job that was frozen with the whole machine is done by the next word of the engine.
            busy_s = min(event.vocoder_job_s, 0.0 if before is None else before.vocoder_job_s)
            if busy_s > self.settings.engine_silence_s:
                raise EngineLost(f"its vocoder has been busy with one job for {event.vocoder_job_s:.1f} s")
            return
        stream = self._streams.get(event.request_id)
        if stream is None:
            return
        if isinstance(event, LAST):
            if isinstance(event, Failed) and event.code == EngineFault.code:
                self._probe_due.set()
            self._deliver_last(stream, event)
        else:
            stream.put(event)

    def _deliver_last(self, stream: EngineStream, event: Event) -> None:
        self._streams.pop(stream.request_id, None)
        stream.put(event)


def _without_device(settings: Settings) -> Settings:
    """A crash in a driver or a library takes the engine with it before that can try the CPU."""
    if settings.device != "auto" or settings.gpu_form is None:
        return settings
    log.warning("gpu_left", means="the engine ended before it was ready, again and again: the CPU serves")
    return settings.model_copy(update={"device": "cpu"})


def load_within_s(bundle: Path | None) -> float:
    """How long an engine may be silent while it loads these files; None is the shipped voice, which is small."""
    files = [] if bundle is None else [path for path in bundle.iterdir() if path.is_file()]
    return _LOAD_S + sum(path.stat().st_size for path in files) / _LOAD_BYTES_S
