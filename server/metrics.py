"""Metrics for Prometheus. Buckets are chosen by hand around what a listener notices.

Labels are bounded: protocol, outcome, close code; never a voice, a text or a key. Every series is there from the start,
at 0: `rate()` misses the first event of one that begins with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, product
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engines.messages import EngineStats, Tally
from server.errors import KINDS, Outcome

Protocol = Literal[
    "parlando.v1", "nari.speech.v1", "openai", "elevenlabs", "elevenlabs-ws", "elevenlabs-multi", "wyoming",
    "deepgram", "deepgram-v1", "deepgram-v2", "cartesia", "cartesia-ws", "realtime", "vllm-omni",
]  # fmt: skip
_CLOSES = {1000} | {code for kind in KINDS.values() for code in (kind.close, kind.close_single) if code is not None}
_FIRST_AUDIO_S = (
    0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5
)  # fmt: skip
_QUEUE_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_INTER_CHUNK_S = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16, 0.24, 0.5, 1)
_REAL_TIME_FACTOR = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2)
_LEAD_S = (-1, -0.2, -0.05, 0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_BLOCKED_S = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 15)
_E2E_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120)
_PAUSES = 9  # times what an exposition took: all of them take a tenth of the event loop at most


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._due: asyncio.Task[bytes] | None = None  # the next exposition
        self._rests_until_s = 0.0
        self._engine = _EngineFigures()
        self.registry.register(self._engine)

        self.requests = self._counter("requests", "Utterances by protocol and outcome", "protocol", "outcome")
        self.audio_s = self._counter("audio_seconds", "Seconds of audio sent")
        self.underruns = self._counter("stream_underruns", "Underruns: times a stream's lead fell below zero")
        self.underrun_s = self._counter("underrun_seconds", "Seconds of underrun")
        self.refusals = self._counter(
            "refusals", "Requests rejected before an utterance was opened, by error code", "code"
        )
        self.ws_closed = self._counter("ws_closed", "WebSockets closed by the server, by close code", "code")
        self.engine_restarts = self._gauge("engine_restarts", "Restarts of the engine")
        self.streams = self._gauge("streams_active", "Utterances in progress")
        self.sockets = self._gauge("ws_open", "Open WebSockets")
        self.engine_up = self._gauge("engine_up", "1 while the engine is warm and ready")
        self.draining = self._gauge(
            "draining", "1 while draining: utterances in progress finish, new ones are rejected"
        )
        self.draft_tolerance = self._gauge("spec_tolerance", "Levels by which an accepted draft may differ; 0 is exact")
        self.engine_info = self._gauge(
            "engine_info", "Bundle, version and digest that are served", "bundle", "version", "digest"
        )

        self.ttfa_s = self._histogram(
            "time_to_first_audio_seconds",
            "First text bytes received to first audio bytes handed to the socket",
            _FIRST_AUDIO_S,
            "protocol",
        )
        self.audible_ttfa_s = self._histogram(
            "time_to_audible_seconds",
            "First text bytes received to the first 10 ms of -45 dBFS as played from the first audio bytes on",
            _FIRST_AUDIO_S,
            "protocol",
        )
        self.queue_s = self._histogram("request_queue_seconds", "Time from submit to the first decode step", _QUEUE_S)
        self.inter_chunk_s = self._histogram(
            "inter_chunk_seconds", "Time between two chunks of a stream", _INTER_CHUNK_S
        )
        self.rtf = self._histogram(
            "real_time_factor",
            "Time from first text to last audio, less time starved of text, by seconds of audio",
            _REAL_TIME_FACTOR,
        )
        self.lead_s = self._histogram(
            "playback_lead_seconds", "Playback lead at each chunk: audio sent and not yet played", _LEAD_S
        )
        self.send_blocked_s = self._histogram(
            "send_blocked_seconds", "Duration of sends that were blocked by a slow reader", _BLOCKED_S
        )
        self.e2e_s = self._histogram("end_to_end_seconds", "Time from first text to last audio", _E2E_S, "protocol")

        for labels in product(get_args(Protocol), get_args(Outcome)):
            self.requests.labels(*labels)
        for protocol in get_args(Protocol):
            self.ttfa_s.labels(protocol)
            self.audible_ttfa_s.labels(protocol)
            self.e2e_s.labels(protocol)
        for code in KINDS:
            self.refusals.labels(code)
        for close in sorted(_CLOSES):
            self.ws_closed.labels(str(close))

    def watch(self, *, draining: Callable[[], bool], engine_pids: Sequence[Callable[[], int | None]]) -> None:
        """What is asked for at each reading. CPU, memory and open files of all processes are read on Linux."""
        self.draining.set_function(lambda: float(draining()))
        ProcessCollector(registry=self.registry)
        self.registry.register(_EngineProcesses(engine_pids))
        self._engine.count = len(engine_pids)

    def take_engine(self, engine: int, stats: EngineStats | None, restarts: int) -> None:
        """Of one engine; None: there is none now. Several have the label `engine`."""
        self._engine.stats[engine], self._engine.restarts[engine] = stats, restarts
        self.engine_up.set(any(one is not None for one in self._engine.stats.values()))
        self.engine_restarts.set(sum(self._engine.restarts.values()))

    def exposition(self) -> bytes:
        return generate_latest(self.registry)

    async def scraped(self) -> bytes:
        """An exposition that is made after the call. Calls that come before it is due share it."""
        if self._due is None:
            self._due = asyncio.create_task(self._expose())
        return await asyncio.shield(self._due)

    async def _expose(self) -> bytes:
        await asyncio.sleep(self._rests_until_s - time.monotonic())
        self._due = None
        began_s = time.monotonic()
        exposition = self.exposition()
        ended_s = time.monotonic()
        self._rests_until_s = ended_s + _PAUSES * (ended_s - began_s)
        return exposition

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"tts_{name}_total", says, labels, registry=self.registry)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"tts_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(f"tts_{name}", says, labels, buckets=tuple(buckets), registry=self.registry)


class _EngineFigures(Collector):
    """The engine's last gauges and counts, as they are; a count that falls back tells of a restart."""

    def __init__(self) -> None:
        self.stats: dict[int, EngineStats | None] = {}
        self.restarts: dict[int, int] = {}
        self.count = 1  # engines in all

    def collect(self) -> Iterator[Metric]:
        told = {engine: _figures(stats) for engine, stats in self.stats.items() if stats is not None}
        return _by_engine(told, self.count)


class _EngineProcesses(Collector):
    def __init__(self, pids: Sequence[Callable[[], int | None]]) -> None:
        self._collectors = [
            ProcessCollector(namespace="tts_engine", pid=partial(_pid, pid), registry=None) for pid in pids
        ]

    def collect(self) -> Iterator[Metric]:
        told = {engine: one.collect() for engine, one in enumerate(self._collectors)}
        return _by_engine(told, len(self._collectors))


def _pid(told: Callable[[], int | None]) -> int | str:
    """What there is no process of in /proc, where there is none."""
    return told() or "none"


def _by_engine(told: Mapping[int, Iterable[Metric]], count: int) -> Iterator[Metric]:
    """Each engine's samples under its number, where there are several."""
    families: dict[str, Metric] = {}
    for engine, metrics in told.items():
        for metric in metrics:
            samples = metric.samples
            if count > 1:
                samples = [one._replace(labels={**one.labels, "engine": str(engine)}) for one in samples]
            if metric.name in families:
                families[metric.name].samples += samples
            else:
                metric.samples, families[metric.name] = samples, metric
    return iter(families.values())


def _figures(stats: EngineStats) -> Iterator[Metric]:
    for name, says, value in (
        ("requests_running", "Sequences holding a slot", stats.running),
        ("requests_waiting", "Sequences waiting for a slot", stats.waiting),
        ("slots", "Total number of slots", stats.slots),
        ("capacity_streams", "Streams that this machine sustains in real time", stats.capacity),
        ("capacity_streams_left", "Streams that would be admitted now", stats.streams_left),
        ("predicted_first_audio_seconds", "Predicted TTFA of the next stream", stats.predicted_ttfa_s),
        (
            "own_kernels",
            "1 when LM and vocoder run on parlando's kernels, 0 when any part runs on ONNX Runtime's",
            int("the runtime's" not in stats.kernels),
        ),
    ):
        yield GaugeMetricFamily(f"tts_{name}", says, value=value)
    busy = CounterMetricFamily("tts_engine_busy_seconds", "Seconds of computing, by stage", labels=["stage"])
    busy.add_metric(["lm"], stats.lm_busy_s)
    busy.add_metric(["vocoder"], stats.vocoder_busy_s)
    yield busy
    yield CounterMetricFamily("tts_engine_lm_steps", "Decode steps of the speech model", value=stats.lm_steps)
    guards = CounterMetricFamily("tts_guards", "Utterances that a guard repaired or ended", labels=["guard"])
    events = CounterMetricFamily("tts_engine_events", "Other counters of the engine", labels=["event"])
    for name, count in sorted(stats.counters.items()):
        if name.startswith("guard_"):
            guards.add_metric([name.removeprefix("guard_")], count)
        else:
            events.add_metric([name], count)
    yield guards
    yield events
    proposed, accepted = (stats.counters.get(f"drafts_{what}", 0) for what in ("proposed", "accepted"))
    yield CounterMetricFamily("tts_spec_draft_tokens", "Draft tokens proposed", value=proposed)
    yield CounterMetricFamily(
        "tts_spec_accepted_tokens", "Draft tokens accepted as equal to the sampled token", value=accepted
    )
    tolerated = stats.counters.get("drafts_tolerated", 0)
    yield CounterMetricFamily(
        "tts_spec_tolerated_tokens", "Draft tokens accepted within the tolerance", value=tolerated
    )
    yield from _histograms(stats.tallies)


def _histograms(tallies: dict[str, Tally]) -> Iterator[Metric]:
    batch = HistogramMetricFamily("tts_batch_size", "Streams in one batch of the speech model", labels=[])
    steps = HistogramMetricFamily("tts_engine_step_seconds", "Duration of one step, by stage", labels=["stage"])
    for name, tally in tallies.items():
        if name == "batch_rows":
            batch.add_metric([], *_cumulative(tally))
        else:
            steps.add_metric([name.removesuffix("_step_s")], *_cumulative(tally))
    yield batch
    yield steps


def _cumulative(tally: Tally) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus has them, each with all below it, and the sum."""
    bounds = [*(f"{bound:g}" for bound in tally.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(tally.counts)), strict=True)), tally.sum
