"""One stream at a time, alone and then beside each attack in turn: what an attack costs those who do no harm."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtests import metrics_page, scenarios
from loadtests.attacks.attack import Attack, under_way
from loadtests.level import LevelResult
from loadtests.session import Session
from loadtests.summary import Verdict
from loadtests.texts import Feeding

JITTER_MS = 100
TTFA_P95_OVER_ALONE = 2.0
MAX_GROWTH_BYTES = 64 * 2**20  # of all attacks together, once no stream is left
_UNDER_WAY_S = 2.0  # before the first stream beside it
_IDLE_WITHIN_S = 30.0
_RESTARTS = "tts_engine_restarts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    attack: str
    what: str
    level: LevelResult
    restarts: int  # of the engine, meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacks:
    alone: LevelResult
    beside: tuple[Beside, ...]
    leased_after: Mapping[str, float]
    grown_bytes: int | None

    def ttfa_p95_over_alone(self, one: Beside) -> float | None:
        """Of texts sent whole."""
        alone_ms, beside_ms = (_ttfa_p95_ms(level) for level in (self.alone, one.level))
        return None if alone_ms is None or beside_ms is None else round(beside_ms / alone_ms, 2)

    def reasons(self, one: Beside) -> tuple[str, ...]:
        """Why a listener was harmed."""
        counts, ratio = one.level.counts, self.ttfa_p95_over_alone(one)
        dry = sum(found.count for found in one.level.underruns if found.jitter_ms == JITTER_MS)
        reasons = []
        if one.restarts:
            reasons.append(f"the engine was started again {one.restarts} times")
        if counts.failed or counts.refused:
            reasons.append(f"{counts.failed} failed and {counts.refused} refused, of {counts.offered}")
        if dry:
            reasons.append(f"{dry} underruns at {JITTER_MS} ms jitter buffer")
        if one.level.verdict is Verdict.VOID:
            reasons.append(f"void: {one.level.against[0]}")
        elif ratio is None or ratio > TTFA_P95_OVER_ALONE:
            reasons.append(f"p95 audible TTFA is {ratio} times its value alone, the limit is {TTFA_P95_OVER_ALONE:g}")
        return tuple(reasons)

    @property
    def against(self) -> tuple[str, ...]:
        reasons = [f"{one.attack}: {reason}" for one in self.beside for reason in self.reasons(one)]
        reasons += [f"{name} is {value:g} when no stream is left" for name, value in self.leased_after.items() if value]
        if self.grown_bytes is not None and self.grown_bytes > MAX_GROWTH_BYTES:
            reasons.append(f"{self.grown_bytes >> 20} MiB more than before, the limit is {MAX_GROWTH_BYTES >> 20}")
        return tuple(reasons)


def attacks(session: Session, chosen: Sequence[Attack], seconds: float) -> Attacks:
    """`seconds` alone, and as many beside each."""
    alone = scenarios.solo(session, seconds)
    before = session.server.rss_bytes()
    beside = tuple(_beside(session, attack, seconds) for attack in chosen)
    leased_after = metrics_page.await_idle(session.server.url, _IDLE_WITHIN_S)
    after = session.server.rss_bytes()
    grown = None if before is None or after is None else after - before
    return Attacks(alone=alone, beside=beside, leased_after=leased_after, grown_bytes=grown)


def _beside(session: Session, attack: Attack, seconds: float) -> Beside:
    url = session.server.url
    before = metrics_page.scrape(url).get(_RESTARTS, 0.0)
    with under_way(attack, url):
        time.sleep(_UNDER_WAY_S)
        level = scenarios.solo(session, seconds, f"beside {attack.name}")
    restarts = metrics_page.scrape(url).get(_RESTARTS, 0.0) - before
    metrics_page.await_idle(url, _IDLE_WITHIN_S)
    return Beside(attack=attack.name, what=attack.what, level=level, restarts=round(restarts))


def _ttfa_p95_ms(level: LevelResult) -> float | None:
    found = level.latencies_by_feeding_ms.get(Feeding.WHOLE, {}).get("audible_ttfa")
    return None if found is None else found.p95
