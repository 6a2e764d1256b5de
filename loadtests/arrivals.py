"""When who says what: every arrival of a level is drawn before the first is sent, from a seed.

Nothing here waits for an answer. A server that falls behind meets the same schedule as one that keeps up, and
latencies count from the schedule, so a slow answer cannot hide the requests that it held up.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from loadtests.texts import Feeding, Kind, Text, draw, mean_audio_s

_SOLO_GAP_S = 0.25
_PAUSE_S = 0.25  # mean silence of a place between two utterances


class Arrivals(StrEnum):
    POISSON = "poisson"  # rate N / mean audio length: N listeners on average
    PLACES = "places"  # N listeners: a place's next utterance comes when its last should have been heard
    STEADY = "steady"  # equal distances
    TRACE = "trace"  # read from a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    index: int
    at_s: float  # since the level began
    text: Text
    feeding: Feeding
    cancel_after_s: float | None = None


def rate_hz(level: float, audio_s: Mapping[str, float]) -> float:
    """Arrivals a second that keep `level` listeners listening on average (Little's law)."""
    return level / mean_audio_s(audio_s)


def draw_level(
    arrivals: Arrivals, level: float, seconds: float, audio_s: Mapping[str, float], seed: int
) -> list[Planned]:
    """The arrivals of one level. `audio_s`: length of each text of the stock as the server speaks it."""
    rng = random.Random(f"{seed} {arrivals} {level:g}")
    match arrivals:
        case Arrivals.POISSON:
            return _with_texts(_poisson(rate_hz(level, audio_s), seconds, rng), rng)
        case Arrivals.STEADY:
            return _with_texts(_steady(rate_hz(level, audio_s), seconds), rng)
        case Arrivals.PLACES:
            return _places(round(level), seconds, audio_s, rng)
        case Arrivals.TRACE:
            raise ValueError("a trace is read from a file: read_trace")


def draw_solo(seconds: float, e2e_s: Mapping[str, float], seed: int) -> list[Planned]:
    """One stream at a time: the next comes well after the last should have ended. No words at 400 ms."""
    rng, at_s, planned = random.Random(f"{seed} solo"), 0.0, list[Planned]()
    for text, _ in draw(rng, math.ceil(seconds / _SOLO_GAP_S), frozenset((Kind.SHORT, Kind.MEDIUM))):
        if at_s >= seconds:
            break
        feeding = (Feeding.WHOLE, Feeding.WORDS_10_MS)[len(planned) % 2]
        planned.append(Planned(index=len(planned), at_s=at_s, text=text, feeding=feeding))
        at_s += _SOLO_GAP_S + 2 * e2e_s[text.text] + text.feeding_s(feeding)
    return planned


def draw_cancels(
    count: int, rate: float, e2e_s: Mapping[str, float], audio_s: Mapping[str, float], seed: int
) -> list[Planned]:
    """Texts of the mix, each stopped at a random moment: three of four while its audio should still be made."""
    rng, planned = random.Random(f"{seed} cancels"), list[Planned]()
    for index, (text, feeding) in enumerate(draw(rng, count)):
        lasts_s = audio_s[text.text] if index % 4 == 3 else e2e_s[text.text] + text.feeding_s(feeding)
        after_s = rng.uniform(0.0, lasts_s)
        planned.append(Planned(index=index, at_s=index / rate, text=text, feeding=feeding, cancel_after_s=after_s))
    return planned


def read_trace(path: Path, seed: int) -> list[Planned]:
    """A JSON object a line: {"at_s": 1.25, "kind": "short", "feeding": "whole"}; what is left out is drawn."""
    rng, planned = random.Random(f"{seed} trace"), list[Planned]()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            ((text, feeding),) = draw(rng, 1, frozenset((Kind(row["kind"]),)) if "kind" in row else frozenset(Kind))
            feeding = Feeding(row.get("feeding", feeding))
            planned.append(Planned(index=0, at_s=float(row["at_s"]), text=text, feeding=feeding))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error!r} in {line!r}") from error
    return _in_order(planned)


def _poisson(rate: float, seconds: float, rng: random.Random) -> list[float]:
    """A Poisson process given its count: as random, but a level offers the load that its name says."""
    return sorted(rng.uniform(0.0, seconds) for _ in range(round(rate * seconds)))


def _steady(rate: float, seconds: float) -> list[float]:
    return [index / rate for index in range(round(rate * seconds))]


def _with_texts(times_s: Sequence[float], rng: random.Random) -> list[Planned]:
    drawn = zip(times_s, draw(rng, len(times_s)), strict=True)
    return [
        Planned(index=index, at_s=at_s, text=text, feeding=feeding)
        for index, (at_s, (text, feeding)) in enumerate(drawn)
    ]


def _places(places: int, seconds: float, audio_s: Mapping[str, float], rng: random.Random) -> list[Planned]:
    """Lengths are known, so the moment at which a listener should have heard it out can be drawn beforehand."""
    planned, most = list[Planned](), math.ceil(seconds / min(audio_s.values()))
    for _ in range(places):
        at_s = rng.uniform(0.0, min(seconds / 2, mean_audio_s(audio_s)))
        for text, feeding in draw(rng, most):
            if at_s >= seconds:
                break
            planned.append(Planned(index=0, at_s=at_s, text=text, feeding=feeding))
            at_s += max(audio_s[text.text], text.feeding_s(feeding)) + rng.expovariate(1 / _PAUSE_S)
    return _in_order(planned)


def _in_order(planned: list[Planned]) -> list[Planned]:
    return [replace(one, index=index) for index, one in enumerate(sorted(planned, key=lambda one: one.at_s))]
