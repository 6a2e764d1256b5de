"""How soon speech is heard: 200 sentences that open with every sound of English, five requests a second.

Each is asked once over HTTP and once over the WebSocket, a word every 10 ms; the two must be the same bytes. Judged are
audible TTFA of both ways, and the quiet at the beginning of what was sent, for soft fricatives (f, th, h) apart: their
first tens of milliseconds are sound below the level that counts as audible.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtests import summary
from loadtests.arrivals import Planned
from loadtests.level import LevelResult
from loadtests.recording import End
from loadtests.session import Session
from loadtests.summary import Percentiles
from loadtests.texts import Feeding, Kind, Text

PLACE = Path(__file__).with_name("openings.txt")  # opening sounds, tab, sentence
RATE_HZ = 5.0
LEADING_QUIET_MS = 10.0
SOFT_LEADING_QUIET_MS = 60.0
_SOFT = ("f", "th", "hh")
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    sounds: str
    text: str

    @property
    def is_soft(self) -> bool:
        return self.sounds.split()[0] in _SOFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """p95 of audible TTFA."""

    http_ms: float
    words_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Openings:
    limits: Limits
    http: LevelResult
    words: LevelResult
    leading_quiet_ms: Percentiles | None
    soft_leading_quiet_ms: Percentiles | None

    @property
    def against(self) -> tuple[str, ...]:
        reasons = [f"{level.name}: {reason}" for level in (self.http, self.words) for reason in level.against]
        for level, limit_ms in ((self.http, self.limits.http_ms), (self.words, self.limits.words_ms)):
            reasons += _above(f"{level.name}: audible TTFA", level.latencies_ms.get("audible_ttfa"), limit_ms)
        reasons += _above("leading quiet", self.leading_quiet_ms, LEADING_QUIET_MS)
        reasons += _above("leading quiet of soft fricatives", self.soft_leading_quiet_ms, SOFT_LEADING_QUIET_MS)
        return tuple(reasons)


def limits_here() -> Limits:
    """What a quiet machine of this kind is asked for."""
    flags = _CPUINFO.read_text().split() if _CPUINFO.exists() else []
    return Limits(http_ms=25.0, words_ms=50.0) if "avx512_vnni" in flags else Limits(http_ms=35.0, words_ms=60.0)


def sentences() -> list[Opening]:
    rows = (line.split("\t") for line in PLACE.read_text().splitlines())
    return [Opening(sounds=sounds, text=text) for sounds, text in rows]


def openings(session: Session, limits: Limits) -> Openings:
    asked = sentences()
    random.Random(f"{session.seed} openings").shuffle(asked)
    http = _run(session, asked, Feeding.HTTP)
    assert session.last is not None
    quiet_s = [one.leading_silence_s for one in session.last.streams]
    for opening, stream, recording in zip(asked, session.last.streams, session.last.recordings, strict=True):
        if session.same_bytes and stream.end is End.DONE:
            session.expected[opening.text] = (stream.samples, recording.checksum)
    words = _run(session, asked, Feeding.WORDS_10_MS)

    def quiet_ms(belongs: Callable[[Opening], bool]) -> Percentiles | None:
        return summary.percentiles((one for one, of in zip(quiet_s, asked, strict=True) if belongs(of)), 1000)

    return Openings(
        limits=limits,
        http=http,
        words=words,
        leading_quiet_ms=quiet_ms(lambda one: not one.is_soft),
        soft_leading_quiet_ms=quiet_ms(lambda one: one.is_soft),
    )


def _run(session: Session, asked: list[Opening], feeding: Feeding) -> LevelResult:
    """A Poisson process of `RATE_HZ`, given its count."""
    seconds = len(asked) / RATE_HZ
    rng = random.Random(f"{session.seed} {feeding}")
    times_s = sorted(rng.uniform(0.0, seconds) for _ in asked)
    planned = [
        Planned(index=index, at_s=at_s, text=Text(kind=Kind.SHORT, text=one.text), feeding=feeding)
        for index, (at_s, one) in enumerate(zip(times_s, asked, strict=True))
    ]
    name = f"openings, {feeding}"
    return session.run(planned, name, "poisson", level=0, seed=session.seed, seconds=seconds, warm_up_s=0.0)


def _above(what: str, found: Percentiles | None, limit_ms: float) -> list[str]:
    if found is None:
        return [f"{what} is not known"]
    return [f"p95 of {what} is {found.p95:g} ms, the limit is {limit_ms:g} ms"] if found.p95 > limit_ms else []
