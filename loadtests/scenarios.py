"""What is asked of a server: latency at one stream, where the knee is, what overload does, cancels, a soak."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadtests import metrics_page, summary
from loadtests.arrivals import Arrivals, draw_cancels, draw_solo
from loadtests.knee import Knee, knee, next_level
from loadtests.level import LevelResult
from loadtests.recording import End
from loadtests.session import Session
from loadtests.summary import Percentiles, Verdict

_IDLE_WITHIN_S = 10.0
_VOID_TRIES = 2
_SETTLED_SHARE = 0.2  # of a run: memory is still growing into its working set


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    levels: tuple[LevelResult, ...]  # in the order they ran
    knee: Knee
    unknown: str = ""  # why the search ended early


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancels:
    level: LevelResult
    cancelled: int
    too_late: int  # the server was done before
    cancel_to_last_byte_ms: Percentiles | None  # 0 where nothing came after the cancel
    cancel_to_answer_ms: Percentiles | None
    rss_slope_bytes_per_hour: float | None
    rss_slope_bytes_per_cancel: float | None
    leased_after: Mapping[str, float]  # gauges of /metrics; all must be 0

    @property
    def passed(self) -> bool:
        clean = bool(self.leased_after) and not any(self.leased_after.values())
        return clean and self.level.counts.failed == 0 and self.level.counts.refused == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    level: LevelResult
    minutes: float
    rss: tuple[tuple[float, int], ...]  # (seconds, bytes)
    rss_slope_bytes_per_hour: float | None
    leased_after: Mapping[str, float]


def solo(session: Session, seconds: float) -> LevelResult:
    """Latency of one stream at a time. Short and medium texts, whole and a word every 10 ms."""
    planned = draw_solo(seconds, session.e2e_s, session.seed)
    return session.run(planned, "one stream", "solo", level=1, seed=session.seed, seconds=seconds, warm_up_s=0.0)


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
        result = _not_void(session, level, session.seed + confirmed.get(level, 0))
        levels.append(result)
        if result.verdict is Verdict.VOID:
            return Ladder(
                levels=tuple(levels), knee=knee(tested), unknown=f"{result.name} was void: {result.against[0]}"
            )
        tested[level] = result.verdict is Verdict.PASSED
    return Ladder(levels=tuple(levels), knee=knee(tested), unknown=f"stopped after {max_levels} levels")


def _not_void(session: Session, level: int, seed: int) -> LevelResult:
    for _ in range(_VOID_TRIES - 1):
        result = session.level(level, seed=seed)
        if result.verdict is not Verdict.VOID:
            return result
    return session.level(level, seed=seed)


def overload(session: Session, knee_level: float, times: float, seconds: float) -> LevelResult:
    """Steady arrivals at a multiple of the knee's rate. Refusals are counted with their answer time."""
    name = f"overload {times:g} x {knee_level:g}"
    return session.level(knee_level * times, Arrivals.STEADY, seconds=seconds, name=name, may_refuse=True)


def cancels(session: Session, count: int, rate: float) -> Cancels:
    """Stops `count` streams at random moments, then looks whether anything is still held."""
    planned = draw_cancels(count, rate, session.e2e_s, session.audio_s, session.seed)
    seconds = count / rate
    level = session.run(planned, "cancels", "steady", level=0, seed=session.seed, seconds=seconds, warm_up_s=0.0)
    assert session.last is not None
    stopped = [one for one in session.last.streams if one.end is End.CANCELLED and one.cancel_s is not None]
    slope = slope_bytes_per_hour(session.last.rss)
    return Cancels(
        level=level,
        cancelled=len(stopped),
        too_late=sum(one.end is End.DONE for one in session.last.streams),
        cancel_to_last_byte_ms=summary.percentiles(
            (max(0.0, (one.last_byte_s or 0.0) - (one.cancel_s or 0.0)) for one in stopped), 1000
        ),
        cancel_to_answer_ms=summary.percentiles((one.ended_s - (one.cancel_s or 0.0) for one in stopped), 1000),
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


def slope_bytes_per_hour(samples: tuple[tuple[float, int], ...]) -> float | None:
    """Theil-Sen: the median slope between pairs, so that one jump of the allocator does not make a trend."""
    if not samples:
        return None
    settled_s = samples[0][0] + _SETTLED_SHARE * (samples[-1][0] - samples[0][0])
    kept = [one for one in samples if one[0] >= settled_s]
    if len(kept) < 3:
        return None
    rng = random.Random(0)
    pairs = [sorted(rng.sample(range(len(kept)), 2)) for _ in range(2000)]
    slopes = [(kept[late][1] - kept[early][1]) / (kept[late][0] - kept[early][0]) for early, late in pairs]
    return round(3600 * float(np.median(slopes)), 1)
