"""What is asked of a server: latency at one stream, where the knee is, what overload does, cancels, a soak.

Each scenario returns what it measured together with the reasons, if any, why the server did not keep what is asked.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from loadtests import metrics_page, summary
from loadtests.arrivals import draw_cancels, draw_solo
from loadtests.knee import Knee, below, knee, next_level
from loadtests.level import LevelResult
from loadtests.recording import End
from loadtests.session import Session
from loadtests.summary import Percentiles, Verdict
from loadtests.texts import Feeding

REFUSED_WITHIN_MS = 50.0
TTFA_P99_OVER_KNEE = 1.5
MAX_BYTES_PER_CANCEL = 100.0  # a leaked stream is kilobytes; below this it is the allocator
MAX_RSS_GROWTH = 0.01
_IDLE_WITHIN_S = 10.0
_TREND_S = 300.0  # shorter runs have no trend, only noise
_VOID_TRIES = 2
_KNEE_TRIES = 4
_SETTLED_SHARE = 0.2  # of a run: memory is still growing into its working set


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    levels: tuple[LevelResult, ...]  # in the order they ran
    knee: Knee
    unknown: str = ""  # why the search ended early

    @property
    def at_knee(self) -> LevelResult | None:
        """The last run of the highest level that passes."""
        passed = [one for one in self.levels if one.level == self.knee.passes and one.verdict is Verdict.PASSED]
        return passed[-1] if passed else None

    @property
    def against(self) -> tuple[str, ...]:
        """A search that ended early for want of levels has still found something; one that met void levels has not."""
        void = self.unknown if self.levels[-1].verdict is Verdict.VOID else ""
        return tuple(filter(None, ("no level passes" if self.at_knee is None else "", void)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The level of the knee and, directly behind it, a multiple of its arrivals."""

    at_knee: LevelResult
    level: LevelResult
    above: tuple[LevelResult, ...] = ()  # levels that failed first: the machine had become slower

    @property
    def ttfa_p99_over_knee(self) -> float | None:
        """Of texts sent whole; None if one of the levels has none."""
        knee_ms, now_ms = (_whole_ttfa_p99_ms(one) for one in (self.at_knee, self.level))
        return None if knee_ms is None or now_ms is None else round(now_ms / knee_ms, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overload:
    """An admitted stream must be served as at the knee; a rejected request must be answered at once.

    Of one run at the knee p99 says little: close to it few streams are under way while the machine keeps up, and all
    slots as soon as it does not. So both alternate, and the median counts. And a machine's speed changes: where the
    level of the knee fails in a round, the knee is below it now, and is looked for there.
    """

    rounds: tuple[Round, ...]

    @property
    def levels(self) -> list[LevelResult]:
        """In the order they ran."""
        return [level for round_ in self.rounds for level in (*round_.above, round_.at_knee, round_.level)]

    @property
    def judged(self) -> list[Round]:
        """Those whose first half was at the knee indeed: one that failed there was above it."""
        return [round_ for round_ in self.rounds if round_.at_knee.verdict is Verdict.PASSED]

    @property
    def knee(self) -> float | None:
        """The lowest of the rounds: a level that passes while the machine is slow, too. None if a round found none."""
        found = self.judged
        return min((round_.at_knee.level for round_ in found), default=None) if len(found) == len(self.rounds) else None

    @property
    def ttfa_p99_over_knee(self) -> float | None:
        """The median of the judged rounds; None without any."""
        found = [round_.ttfa_p99_over_knee for round_ in self.judged]
        known = [ratio for ratio in found if ratio is not None]
        return round(statistics.median(known), 3) if known else None

    @property
    def refused_p99_ms(self) -> float | None:
        """Of the slowest round; None where none was refused."""
        return max(
            (round_.level.refused_after_ms.p99 for round_ in self.rounds if round_.level.refused_after_ms), default=None
        )

    @property
    def against(self) -> tuple[str, ...]:
        ratio, refused_ms = self.ttfa_p99_over_knee, self.refused_p99_ms
        reasons = [f"{name}: {reason}" for name, reason in _reasons(*(round_.level for round_ in self.rounds))]
        if 2 * len(self.judged) < len(self.rounds) or not self.judged:
            reasons.append(f"the level of the knee passed in {len(self.judged)} of {len(self.rounds)} rounds")
        if ratio is None or ratio > TTFA_P99_OVER_KNEE:
            reasons.append(
                f"p99 audible TTFA is {ratio} times its value at the knee, the limit is {TTFA_P99_OVER_KNEE}"
            )
        if refused_ms is not None and refused_ms > REFUSED_WITHIN_MS:
            reasons.append(f"p99 of refusals is {refused_ms:g} ms, the limit is {REFUSED_WITHIN_MS:g} ms")
        return tuple(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancels:
    level: LevelResult
    cancelled: int
    too_late: int  # the server was done before
    cancel_to_last_byte_ms: Percentiles | None  # 0 where nothing came after the cancel
    cancel_to_answer_ms: Percentiles | None
    messages_after_cancel: Percentiles | None  # binary ones, those that were under way when it was sent included
    rss: tuple[tuple[float, int], ...]  # (seconds, bytes)
    rss_slope_bytes_per_hour: float | None
    rss_slope_bytes_per_cancel: float | None
    leased_after: Mapping[str, float]  # gauges of /metrics; all must be 0

    @property
    def against(self) -> tuple[str, ...]:
        counts, lag = self.level.counts, self.level.generator
        reasons = list(_still_held(self.leased_after))
        if lag.void:
            reasons.append("the generator was late: the times are void")
        if counts.failed or counts.refused:
            reasons.append(f"{counts.failed} failed and {counts.refused} refused, of {counts.offered}")
        slope = self.rss_slope_bytes_per_cancel
        if slope is not None and slope > MAX_BYTES_PER_CANCEL:
            reasons.append(f"memory grows by {slope:g} bytes a cancel, the limit is {MAX_BYTES_PER_CANCEL}")
        return tuple(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    level: LevelResult
    minutes: float
    rss: tuple[tuple[float, int], ...]  # (seconds, bytes)
    rss_slope_bytes_per_hour: float | None
    leased_after: Mapping[str, float]

    @property
    def rss_growth(self) -> float | None:
        """Share of its memory that the server grew by after the warm-up, by the slope."""
        if self.rss_slope_bytes_per_hour is None:
            return None
        settled_h = (1 - _SETTLED_SHARE) * (self.rss[-1][0] - self.rss[0][0]) / 3600
        return self.rss_slope_bytes_per_hour * settled_h / self.rss[-1][1]

    @property
    def against(self) -> tuple[str, ...]:
        reasons = [*self.level.against, *_still_held(self.leased_after)]
        growth = self.rss_growth
        if growth is not None and growth > MAX_RSS_GROWTH:
            reasons.append(f"memory grew by {100 * growth:.1f} %, the limit is {100 * MAX_RSS_GROWTH:g} %")
        return tuple(reasons)


def solo(session: Session, seconds: float, name: str = "one stream") -> LevelResult:
    """Latency of one stream at a time. Short and medium texts, whole and a word every 10 ms."""
    planned = draw_solo(seconds, session.e2e_s, session.seed)
    return session.run(planned, name, "solo", level=1, seed=session.seed, seconds=seconds, warm_up_s=0.0)


def find_knee(session: Session, *, start: int, top: int, max_levels: int, confirm: int = 1) -> Ladder:
    """Grows, bisects, then runs the knee again with `confirm` other seeds; a knee that fails there moves down."""
    levels, tested, confirmed = list[LevelResult](), dict[int, bool](), dict[int, int]()
    while len(levels) < max_levels:
        level = next_level(tested, start=start, top=top)
        again = knee(tested).passes if level is None else None
        if level is None and (again is None or confirmed.get(again, 0) >= confirm):
            return Ladder(levels=tuple(levels), knee=knee(tested))
        if level is None:
            assert again is not None
            level = again
            confirmed[level] = confirmed.get(level, 0) + 1
        seed = session.seed + confirmed.get(level, 0)
        result = _not_void(session, level, seed, f"poisson {level:g}, seed {seed}")
        levels.append(result)
        if result.verdict is Verdict.VOID:
            return Ladder(
                levels=tuple(levels), knee=knee(tested), unknown=f"{result.name} was void: {result.against[0]}"
            )
        tested[level] = result.verdict is Verdict.PASSED
    return Ladder(levels=tuple(levels), knee=knee(tested), unknown=f"stopped after {max_levels} levels")


def _not_void(session: Session, level: float, seed: int, name: str) -> LevelResult:
    for _ in range(_VOID_TRIES - 1):
        result = session.level(level, name=name, seed=seed)
        if result.verdict is not Verdict.VOID:
            return result
    return session.level(level, name=name, seed=seed)


def overload(session: Session, knee_level: float, times: float, rounds: int) -> Overload:
    """The knee's level, then Poisson arrivals at a multiple of its rate, in rounds with own seeds. Refusals are
    counted and timed. A knee that fails moves down, for this round and those after it."""
    found, level = list[Round](), knee_level
    for seed in range(session.seed, session.seed + rounds):
        tried = [_knee_again(session, level, seed)]
        while tried[-1].verdict is Verdict.FAILED and len(tried) < _KNEE_TRIES:
            level = below(level)
            tried.append(_knee_again(session, level, seed))
        name = f"overload {times:g} x {level:g}, seed {seed}"
        loaded = session.level(level * times, name=name, seed=seed, may_refuse=True)
        found.append(Round(at_knee=tried[-1], level=loaded, above=tuple(tried[:-1])))
    return Overload(rounds=tuple(found))


def _knee_again(session: Session, level: float, seed: int) -> LevelResult:
    return _not_void(session, level, seed, f"knee {level:g}, seed {seed}")


def cancels(session: Session, count: int, rate: float) -> Cancels:
    """Stops `count` streams at random moments, then looks whether anything is still held."""
    planned = draw_cancels(count, rate, session.e2e_s, session.audio_s, session.seed)
    seconds = count / rate
    level = session.run(planned, "cancels", "steady", level=0, seed=session.seed, seconds=seconds, warm_up_s=0.0)
    run = session.last
    assert run is not None
    stopped = [one for one in run.streams if one.end is End.CANCELLED and one.cancel_s is not None]
    slope = slope_bytes_per_hour(run.rss)
    return Cancels(
        level=level,
        cancelled=len(stopped),
        too_late=sum(one.end is End.DONE for one in run.streams),
        cancel_to_last_byte_ms=summary.percentiles(
            (max(0.0, (one.last_byte_s or 0.0) - (one.cancel_s or 0.0)) for one in stopped), 1000
        ),
        cancel_to_answer_ms=summary.percentiles((one.ended_s - (one.cancel_s or 0.0) for one in stopped), 1000),
        messages_after_cancel=summary.percentiles(
            sum(at_s > one.cancel_s for at_s in one.chunk_at_s)
            for one in run.recordings
            if one.end is End.CANCELLED and one.cancel_s is not None
        ),
        rss=run.rss,
        rss_slope_bytes_per_hour=slope,
        rss_slope_bytes_per_cancel=None if slope is None else round(slope / (3600 * rate), 1),
        leased_after=metrics_page.await_idle(session.server.url, _IDLE_WITHIN_S),
    )


def soak(session: Session, level: float, minutes: float) -> Soak:
    """One level for long, with the server's memory."""
    result = session.level(level, seconds=session.warm_up_s + 60 * minutes, name=f"soak {level:g}, {minutes:g} min")
    assert session.last is not None
    return Soak(
        level=result,
        minutes=minutes,
        rss=session.last.rss,
        rss_slope_bytes_per_hour=slope_bytes_per_hour(session.last.rss),
        leased_after=metrics_page.await_idle(session.server.url, _IDLE_WITHIN_S),
    )


def _whole_ttfa_p99_ms(level: LevelResult) -> float | None:
    found = level.latencies_by_feeding_ms.get(Feeding.WHOLE, {}).get("audible_ttfa")
    return None if found is None else found.p99


def _reasons(*levels: LevelResult) -> Iterator[tuple[str, str]]:
    for level in levels:
        yield from ((level.name, reason) for reason in level.against)


def _still_held(leased: Mapping[str, float]) -> Iterator[str]:
    if not leased:
        yield "no gauge says what is held"
    yield from (f"{name} is {value:g} when no stream runs" for name, value in leased.items() if value)


def slope_bytes_per_hour(samples: tuple[tuple[float, int], ...]) -> float | None:
    """Theil-Sen: the median slope between pairs, so that one jump of the allocator does not make a trend.

    None where the run was too short to have one.
    """
    if not samples:
        return None
    settled_s = samples[0][0] + _SETTLED_SHARE * (samples[-1][0] - samples[0][0])
    kept = [one for one in samples if one[0] >= settled_s]
    if len(kept) < 3 or kept[-1][0] - kept[0][0] < _TREND_S:
        return None
    rng = random.Random(0)
    pairs = [sorted(rng.sample(range(len(kept)), 2)) for _ in range(2000)]
    slopes = [(kept[late][1] - kept[early][1]) / (kept[late][0] - kept[early][0]) for early, late in pairs]
    return round(3600 * float(np.median(slopes)), 1)
