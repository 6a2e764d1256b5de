"""Where the knee is: the highest level that passes, found by growing steps and then bisection. Pure functions.

A level that fails is not asked again; a higher one that passes by luck does not move the knee past a lower failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_RESOLUTION = 0.08  # of the level


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    passes: int | None  # highest level that passed below the lowest that failed
    fails: int | None  # lowest that failed; None: the ladder ended before one did


def knee(tested: Mapping[int, bool]) -> Knee:
    fails = min((level for level, passed in tested.items() if not passed), default=None)
    passes = max(
        (level for level, passed in tested.items() if passed and (fails is None or level < fails)), default=None
    )
    return Knee(passes=passes, fails=fails)


def below(level: float) -> float:
    """The next lower level worth asking, by the same resolution."""
    return level - max(1, round(_RESOLUTION * level))


def next_level(tested: Mapping[int, bool], *, start: int, top: int, factor: float = 2.0) -> int | None:
    """The level to try next; None when the knee is known well enough."""
    found = knee(tested)
    if found.fails is None:
        if found.passes is None:
            return min(start, top)
        return None if found.passes >= top else min(top, max(found.passes + 1, round(found.passes * factor)))
    floor = found.passes or 0
    gap = found.fails - floor
    if gap <= max(1, _RESOLUTION * floor):
        return None
    return floor + gap // 2
