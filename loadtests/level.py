"""Runs one plan against a server and judges it: starts the generator's process, samples the server meanwhile.

Everything that costs time, samples of memory, progress bars and judging, happens here, in the process that does not
send.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtests import summary
from loadtests.arrivals import Planned
from loadtests.generator import Plan, Progress, Stamped, generate
from loadtests.recording import Recording
from loadtests.results import StreamResult, judge
from loadtests.server_process import Server, machine_cpu_s
from loadtests.summary import Percentiles, Verdict

_SAMPLE_S = 1.0
_POLL_S = 0.2

Told = Callable[[float, int, int], None]  # seconds of the level, streams opened, streams ended


class GeneratorDied(RuntimeError):
    """The process that makes the load ended without handing over its stamps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one plan, raw and judged."""

    streams: tuple[StreamResult, ...]
    recordings: tuple[Recording, ...]  # in the order of `streams`
    generator: summary.Generator
    wall_s: float
    server_cpu_s: float | None
    other_cores: float | None  # what other programs on the machine used, its hypervisor's other guests included
    rss: tuple[tuple[float, int], ...]  # (seconds, bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelResult:
    """One level. Percentiles and concurrency are of the measured window; counts and underruns of every stream."""

    name: str
    arrivals: str
    level: float
    rate_hz: float
    seed: int
    warm_up_s: float
    measured_s: float
    counts: summary.Counts
    measured_streams: int
    concurrency: summary.Concurrency
    underruns: tuple[summary.Underruns, ...]
    latencies_ms: Mapping[str, Percentiles]
    latencies_by_feeding_ms: Mapping[str, Mapping[str, Percentiles]]
    rtf: Percentiles | None
    refused_after_ms: Percentiles | None
    audio_s: float
    server_cpu_s_per_audio_s: float | None
    server_cores: float | None
    other_cores: float | None  # busy cores that were neither the server's nor the harness's: a quiet machine has few
    server_rss_bytes: int | None  # the largest sample
    generator: summary.Generator
    verdict: Verdict
    against: tuple[str, ...]


def run_plan(
    server: Server,
    streams: Sequence[Planned],
    expected: Mapping[str, tuple[int, int]],
    told: Told = lambda seconds, opened, ended: None,
    one_by_one: bool = False,
) -> Run:
    """Plays the plan to its end."""
    plan = Plan(url=server.ws_url, streams=tuple(streams), one_by_one=one_by_one)
    cpu_s, started_s, rss = server.cpu_s(), time.monotonic(), list[tuple[float, int]]()
    own_s, machine_s = time.process_time(), machine_cpu_s()
    stamped = _generate(plan, server, started_s, rss, told)
    spent_s = None if cpu_s is None else (server.cpu_s() or 0.0) - cpu_s
    wall_s = time.monotonic() - started_s
    harness_s = stamped.cpu_s + time.process_time() - own_s
    by_index = {one.index: one for one in stamped.recordings}
    recordings = tuple(by_index[one.index] for one in streams if one.index in by_index)
    assert len(recordings) == len(streams), "every planned stream leaves a recording"
    return Run(
        streams=tuple(judge(one, by_index[one.index], expected) for one in streams),
        recordings=recordings,
        generator=_generator(stamped),
        wall_s=wall_s,
        server_cpu_s=spent_s,
        other_cores=None if spent_s is None else (machine_cpu_s() - machine_s - spent_s - harness_s) / wall_s,
        rss=tuple(rss),
    )


def _generate(plan: Plan, server: Server, started_s: float, rss: list[tuple[float, int]], told: Told) -> Stamped:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=generate, args=(plan, theirs), name="load-generator", daemon=True)
    process.start()
    theirs.close()
    try:
        next_sample_s, progress = 0.0, Progress(0, 0)
        while True:
            seconds = time.monotonic() - started_s
            if seconds >= next_sample_s:
                bytes_now = server.rss_bytes()
                if bytes_now is not None:
                    rss.append((seconds, bytes_now))
                next_sample_s = seconds + _SAMPLE_S
            if ours.poll(_POLL_S):
                message = ours.recv()
                if isinstance(message, Stamped):
                    return message
                progress = message
            told(seconds, progress.opened, progress.ended)
    except EOFError as error:
        process.join(5)
        raise GeneratorDied(f"the load generator ended with {process.exitcode}") from error
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()


def _generator(stamped: Stamped) -> summary.Generator:
    ticks = summary.percentiles(stamped.tick_lag_s, 1000)
    assert ticks is not None
    return summary.Generator(
        tick_lag_ms=ticks,
        send_lag_ms=summary.percentiles(stamped.send_lag_s, 1000),
        loop=stamped.loop,
        priority=stamped.priority,
        cores=round(stamped.cpu_s / stamped.wall_s, 3),
    )


def sum_up(
    run: Run,
    *,
    name: str,
    arrivals: str,
    level: float,
    rate_hz: float,
    seed: int,
    warm_up_s: float,
    seconds: float,
    gate_jitter_ms: int = 0,
    may_refuse: bool = False,
) -> LevelResult:
    """`seconds`: how long streams arrived, the warm-up included."""
    measured = [one for one in run.streams if one.scheduled_s >= warm_up_s]
    count, played = summary.counts(run.streams), summary.underruns(run.streams)
    outcome, against = summary.verdict(count, played, run.generator, gate_jitter_ms, may_refuse)
    audio_s = sum(one.audio_s for one in run.streams)
    cpu_s = run.server_cpu_s
    return LevelResult(
        name=name,
        arrivals=arrivals,
        level=level,
        rate_hz=round(rate_hz, 3),
        seed=seed,
        warm_up_s=warm_up_s,
        measured_s=seconds - warm_up_s,
        counts=count,
        measured_streams=len(measured),
        concurrency=summary.concurrency(run.streams, warm_up_s, seconds),
        underruns=played,
        latencies_ms=summary.latencies_ms(measured),
        latencies_by_feeding_ms=summary.by_feeding(measured),
        rtf=summary.percentiles((one.rtf for one in measured), digits=4),
        refused_after_ms=summary.percentiles((one.refused_after_s for one in run.streams), 1000),
        audio_s=round(audio_s, 1),
        server_cpu_s_per_audio_s=round(cpu_s / audio_s, 5) if cpu_s is not None and audio_s else None,
        server_cores=round(cpu_s / run.wall_s, 3) if cpu_s is not None else None,
        other_cores=None if run.other_cores is None else round(max(0.0, run.other_cores), 3),
        server_rss_bytes=max((size for _, size in run.rss), default=None),
        generator=run.generator,
        verdict=outcome,
        against=against,
    )
