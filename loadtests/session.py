"""A session against one server: learns every text, then runs levels, keeps the raw streams, shows progress.

What a session learns first, samples and checksum of each text, is what every later stream of that text must equal.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from loadtests.arrivals import Arrivals, Planned, draw_level
from loadtests.level import LevelResult, Run, Told, run_plan, sum_up
from loadtests.playback import leads_s
from loadtests.recording import RATE_HZ, End
from loadtests.results import StreamResult, chunks_of
from loadtests.server_process import Server
from loadtests.summary import Verdict
from loadtests.texts import STOCK, Feeding

_LEADS_KEPT = 12
_HISTOGRAMS = ("ttfb", "audible_ttfa", "e2e")
_HISTOGRAM_TOP_US = 120_000_000


Lead = list[tuple[float, float]]  # (seconds since the first samples, seconds ahead of the listener)


class Unusable(RuntimeError):
    """The server cannot be measured: it does not speak every text when asked alone."""


@dataclass(slots=True)
class Session:
    server: Server
    console: Console
    raw_path: Path  # gzipped JSON lines, one for each stream
    seed: int
    warm_up_s: float
    measure_s: float
    gate_jitter_ms: int = 0
    same_bytes: bool = True
    audio_s: dict[str, float] = field(default_factory=dict)
    e2e_s: dict[str, float] = field(default_factory=dict)
    expected: dict[str, tuple[int, int]] = field(default_factory=dict)
    histograms: dict[str, dict[str, str]] = field(default_factory=dict)  # level -> latency -> encoded HdrHistogram
    leads: dict[str, list[Lead]] = field(default_factory=dict)  # of a few streams of each level
    last: Run | None = None

    def learn(self) -> None:
        """Speaks every text once, one after another; it also warms the server up."""
        self.raw_path.parent.mkdir(parents=True, exist_ok=True)
        self.raw_path.write_bytes(b"")
        planned = [Planned(index=index, at_s=0.0, text=text, feeding=Feeding.WHOLE) for index, text in enumerate(STOCK)]
        with self._bar("every text once", len(planned)) as bar:
            run = run_plan(self.server, planned, {}, _counter(bar), one_by_one=True)
        for one, stream, recording in zip(planned, run.streams, run.recordings, strict=True):
            spoken = one.text.text
            if stream.end is not End.DONE:
                raise Unusable(f"{spoken!r}: {stream.end}, {stream.detail}")
            self.audio_s[spoken] = stream.audio_s
            assert stream.sent_s is not None
            self.e2e_s[spoken] = stream.ended_s - stream.sent_s
            if self.same_bytes:
                self.expected[spoken] = (stream.samples, recording.checksum)

    def level(
        self,
        level: float,
        arrivals: Arrivals = Arrivals.POISSON,
        *,
        seed: int | None = None,
        seconds: float | None = None,
        name: str | None = None,
        may_refuse: bool = False,
    ) -> LevelResult:
        """One level of `level` listeners, arriving for `seconds`, the warm-up included."""
        seed = self.seed if seed is None else seed
        seconds = seconds or self.warm_up_s + self.measure_s
        planned = draw_level(arrivals, level, seconds, self.audio_s, seed)
        name = name or f"{arrivals} {level:g}, seed {seed}"
        return self.run(planned, name, arrivals, level=level, seed=seed, seconds=seconds, may_refuse=may_refuse)

    def run(
        self,
        planned: Sequence[Planned],
        name: str,
        arrivals: str,
        *,
        level: float,
        seed: int,
        seconds: float,
        warm_up_s: float | None = None,
        may_refuse: bool = False,
    ) -> LevelResult:
        """Any plan, judged as a level."""
        with self._bar(name, seconds) as bar:
            self.last = run = run_plan(self.server, planned, self.expected, _teller(bar, seconds))
        result = sum_up(
            run,
            name=name,
            arrivals=arrivals,
            level=level,
            rate_hz=len(planned) / seconds,
            seed=seed,
            warm_up_s=self.warm_up_s if warm_up_s is None else warm_up_s,
            seconds=seconds,
            gate_jitter_ms=self.gate_jitter_ms,
            may_refuse=may_refuse,
        )
        self._keep(name, run)
        self.leads[name] = _longest_leads(run)
        self._say(result)
        return result

    def _bar(self, name: str, total: float) -> Progress:
        note = TextColumn("{task.fields[note]}")
        columns = (TextColumn("{task.description:<24}"), BarColumn(), TimeRemainingColumn(), note)
        bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        bar.add_task(name, total=total, note="")
        return bar

    def _keep(self, name: str, run: Run) -> None:
        """Appends the raw streams, each with its arrivals, and encodes the histograms."""
        with gzip.open(self.raw_path, "at") as file:
            for stream, recording in zip(run.streams, run.recordings, strict=True):
                chunks = [
                    (round(at_s, 6), size)
                    for at_s, size in zip(recording.chunk_at_s, recording.chunk_bytes, strict=True)
                ]
                row = {"level": name} | _rounded(stream.row()) | {"chunks": chunks, "waiting": recording.waiting}
                file.write(json.dumps(row) + "\n")
        self.histograms[name] = {latency: _encoded(run.streams, latency) for latency in _HISTOGRAMS}

    def _say(self, result: LevelResult) -> None:
        colour = {Verdict.PASSED: "green", Verdict.FAILED: "red", Verdict.VOID: "yellow"}[result.verdict]
        whole = result.latencies_by_feeding_ms.get(Feeding.WHOLE, {}).get("audible_ttfa")
        ttfa = f"audible TTFA p50 {whole.p50:.0f} p95 {whole.p95:.0f} ms" if whole is not None else "no audible text"
        why = f" ({'; '.join(result.against)})" if result.against else ""
        self.console.print(
            f"[{colour}]{result.verdict}[/{colour}] {result.name}: {result.concurrency.mean:.1f} listeners, {ttfa}, "
            f"{result.counts.complete}/{result.counts.offered} complete{why}",
            highlight=False,
        )


def _longest_leads(run: Run) -> list[Lead]:
    """Of the longest streams sent whole: there a cap on working ahead shows."""
    whole = [pair for pair in zip(run.streams, run.recordings, strict=True) if pair[0].feeding == Feeding.WHOLE]
    whole.sort(key=lambda pair: -pair[0].samples)
    return [leads_s(chunks_of(recording), RATE_HZ) for stream, recording in whole[:_LEADS_KEPT] if stream.samples]


def _teller(bar: Progress, seconds: float) -> Told:
    def tell(at_s: float, opened: int, ended: int) -> None:
        bar.update(bar.task_ids[0], completed=min(at_s, seconds), note=f"{ended} of {opened} streams ended")

    return tell


def _counter(bar: Progress) -> Told:
    def tell(at_s: float, opened: int, ended: int) -> None:
        bar.update(bar.task_ids[0], completed=ended, note=f"{ended} spoken")

    return tell


def _encoded(streams: Sequence[StreamResult], latency: str) -> str:
    """An HdrHistogram in microseconds, three digits, base64: it can be merged and read by any HdrHistogram tool."""
    histogram = HdrHistogram(1, _HISTOGRAM_TOP_US, 3)
    for stream in streams:
        value_s = stream.latencies_s[latency]
        if value_s is not None:
            histogram.record_value(max(1, round(value_s * 1e6)))
    return bytes(histogram.encode()).decode()


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
