"""A level in numbers: percentiles, counts, concurrency by the listeners' clock, the generator's own lag, the verdict.

A level passes with every stream complete, none refused and no underrun. It is void, neither passed nor failed, if the
generator itself was late: p99 of its lag over 2 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from loadtests.recording import End
from loadtests.results import DIFFERENT, JITTER_MS, StreamResult
from loadtests.texts import Feeding

MAX_LAG_P99_MS = 2.0


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    count: int
    p50: float
    p95: float
    p99: float
    max: float

    def __post_init__(self) -> None:
        if not self.p50 <= self.p95 <= self.p99 <= self.max:
            raise ValueError(f"percentiles out of order: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Underruns:
    jitter_ms: int
    count: int
    streams: int  # that had any
    stalled_ms: float
    largest_stall_ms: float
    starvations: int  # of text: no underruns
    starved_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """How true the stamps are."""

    tick_lag_ms: Percentiles
    send_lag_ms: Percentiles | None
    loop: str
    priority: str
    cores: float  # of one core, its own share

    @property
    def void(self) -> bool:
        worst_ms = max(self.tick_lag_ms.p99, self.send_lag_ms.p99 if self.send_lag_ms else 0.0)
        return worst_ms > MAX_LAG_P99_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    offered: int
    complete: int
    cancelled: int
    refused: int
    failed: int
    different_bytes: int  # of the failed
    failures: tuple[str, ...]  # the most frequent reasons

    def __post_init__(self) -> None:
        ended = self.complete + self.cancelled + self.refused + self.failed
        if ended != self.offered:
            raise ValueError(f"{self.offered} streams were offered and {ended} ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many listeners were hearing something, waiting for more included, within the measured window."""

    mean: float
    peak: int


def percentiles(values: Iterable[float | None], scale: float = 1.0, digits: int = 3) -> Percentiles | None:
    """Of the values that are there: each a value that was measured, never one in between."""
    known = np.array([value for value in values if value is not None], dtype=np.float64) * scale
    if not len(known):
        return None
    p50, p95, p99 = np.percentile(known, (50, 95, 99), method="higher")
    return Percentiles(
        count=len(known),
        p50=round(float(p50), digits),
        p95=round(float(p95), digits),
        p99=round(float(p99), digits),
        max=round(float(known.max()), digits),
    )


def latencies_ms(streams: Sequence[StreamResult]) -> dict[str, Percentiles]:
    """Percentiles of every latency, by name."""
    named: dict[str, list[float | None]] = {}
    for stream in streams:
        for name, value in stream.latencies_s.items():
            named.setdefault(name, []).append(value)
    found = {name: percentiles(values, 1000) for name, values in named.items()}
    return {name: one for name, one in found.items() if one is not None}


def by_feeding(streams: Sequence[StreamResult]) -> dict[str, dict[str, Percentiles]]:
    """Words fed slowly cannot be heard before they are there, so each way of feeding has its own percentiles."""
    return {feeding: latencies_ms([one for one in streams if one.feeding == feeding]) for feeding in Feeding}


def underruns(streams: Sequence[StreamResult]) -> tuple[Underruns, ...]:
    figures = []
    for place, jitter_ms in enumerate(JITTER_MS):
        heard = [stream.heard[place] for stream in streams if stream.heard]
        figures.append(
            Underruns(
                jitter_ms=jitter_ms,
                count=sum(one.underruns for one in heard),
                streams=sum(one.underruns > 0 for one in heard),
                stalled_ms=round(1000 * sum(one.stalled_s for one in heard), 1),
                largest_stall_ms=round(1000 * max((one.largest_stall_s for one in heard), default=0.0), 1),
                starvations=sum(one.starvations for one in heard),
                starved_ms=round(1000 * sum(one.starved_s for one in heard), 1),
            )
        )
    return tuple(figures)


def counts(streams: Sequence[StreamResult]) -> Counts:
    ends = Counter(stream.end for stream in streams)
    reasons = Counter(stream.detail for stream in streams if stream.end is End.FAILED)
    return Counts(
        offered=len(streams),
        complete=ends[End.DONE],
        cancelled=ends[End.CANCELLED],
        refused=ends[End.REFUSED],
        failed=ends[End.FAILED],
        different_bytes=sum(count for reason, count in reasons.items() if reason.startswith(DIFFERENT)),
        failures=tuple(f"{count} x {reason}" for reason, count in reasons.most_common(3)),
    )


def concurrency(streams: Sequence[StreamResult], from_s: float, to_s: float) -> Concurrency:
    """From the first playable sample to the last heard one."""
    spans = [
        (max(from_s, stream.first_playable_s), min(to_s, stream.heard[0].played_out_s))
        for stream in streams
        if stream.first_playable_s is not None and stream.heard
    ]
    spans = [(start_s, end_s) for start_s, end_s in spans if start_s < end_s]
    steps = sorted([(start_s, 1) for start_s, _ in spans] + [(end_s, -1) for _, end_s in spans])
    peak = now = 0
    for _, step in steps:
        now += step
        peak = max(peak, now)
    listened_s = sum(end_s - start_s for start_s, end_s in spans)
    return Concurrency(mean=round(listened_s / (to_s - from_s), 2) if to_s > from_s else 0.0, peak=peak)


def verdict(
    count: Counts, played: Sequence[Underruns], generator: Generator, gate_jitter_ms: int = 0, may_refuse: bool = False
) -> tuple[Verdict, tuple[str, ...]]:
    """The rule of a level, and what spoke against it. `may_refuse`: an overload, where only who is admitted counts."""
    if generator.void:
        lag = f"generator lag p99 {generator.tick_lag_ms.p99:g} ms (ticks)"
        if generator.send_lag_ms is not None:
            lag += f", {generator.send_lag_ms.p99:g} ms (sends)"
        return Verdict.VOID, (f"{lag}, the limit is {MAX_LAG_P99_MS:g} ms",)
    against = []
    if count.failed:
        against.append(f"{count.failed} of {count.offered} not complete")
    if count.refused and not may_refuse:
        against.append(f"{count.refused} of {count.offered} refused")
    ran_dry = next(one for one in played if one.jitter_ms == gate_jitter_ms)
    if ran_dry.count:
        against.append(f"{ran_dry.count} underruns at {gate_jitter_ms} ms jitter buffer")
    if count.offered == 0:
        against.append("nothing was offered")
    return (Verdict.FAILED if against else Verdict.PASSED), tuple(against)
