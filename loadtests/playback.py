"""The listener's clock, computed after the run from (arrival, samples) pairs. Pure arithmetic; knows no socket.

The player starts at the first samples plus its jitter buffer and plays in real time. When it runs dry it stands still
until more samples come. That is an underrun, unless the server reported that it waits for text: then it is starvation
of text, and the player fills its jitter buffer anew.

    arrivals    A--------B-----------------C
    played      [  A    ][  B    ] . . . . [  C  ]
                                 ^dry      ^resumed
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

# The last two or three words wait for more text (docs/wire.md). A server that has so many more, or the end of the text,
# and is still silent after this long is late, whatever it waited for.
ENOUGH_TEXTS = 4
RESUME_LIMIT_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    dry_s: float
    resumed_s: float
    starved: bool
    after_text_s: float  # of it, the part after the last text that was sent before it ended

    @property
    def length_s(self) -> float:
        return self.resumed_s - self.dry_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    rate_hz: int
    started_s: float
    ended_s: float  # the last sample has been heard
    runs: tuple[tuple[int, float], ...]  # (first sample, when it plays) of each run without a stall
    stalls: tuple[Stall, ...]

    def heard_s(self, sample: int) -> float:
        """When a sample is played."""
        first, start_s = self.runs[bisect_right(self.runs, (sample, float("inf"))) - 1]
        return start_s + (sample - first) / self.rate_hz

    @property
    def underruns(self) -> int:
        return sum(not stall.starved for stall in self.stalls)

    @property
    def stalled_s(self) -> float:
        return sum(stall.length_s for stall in self.stalls if not stall.starved)

    @property
    def largest_stall_s(self) -> float:
        return max((stall.length_s for stall in self.stalls if not stall.starved), default=0.0)

    @property
    def starvations(self) -> int:
        return sum(stall.starved for stall in self.stalls)

    @property
    def starved_s(self) -> float:
        return sum(stall.length_s for stall in self.stalls if stall.starved)

    @property
    def resume_s(self) -> float | None:
        """The longest wait of a starved listener after the last text before it: how fast speech comes back."""
        return max((stall.after_text_s for stall in self.stalls if stall.starved), default=None)


def play(
    chunks: Sequence[tuple[float, int]],
    rate_hz: int,
    *,
    jitter_s: float = 0.0,
    waiting: Sequence[tuple[int, float]] = (),
    text_sent_s: Sequence[float] = (),
    all_text_sent_s: float | None = None,
) -> Playback:
    """Plays `chunks`, (arrival, samples) in order.

    `waiting`: (chunks that had come, when) whenever the server spoken that it waits for text; `text_sent_s`: when text
    was sent; `all_text_sent_s`: when the end of the text was, None if never.
    """
    if not chunks:
        raise ValueError("nothing to play")
    reported_s = dict(waiting)  # the last word counts
    dry_s, samples = chunks[0][0] + jitter_s, 0
    runs, stalls = [(0, dry_s)], list[Stall]()
    for index, (at_s, count) in enumerate(chunks):
        if at_s > dry_s:
            enough_s = _enough_s(reported_s.get(index), text_sent_s, all_text_sent_s)
            starved = enough_s is not None and at_s - max(dry_s, enough_s) <= RESUME_LIMIT_S
            sent_s = max((one for one in text_sent_s if one <= at_s), default=dry_s)
            stalls.append(Stall(dry_s=dry_s, resumed_s=at_s, starved=starved, after_text_s=at_s - max(dry_s, sent_s)))
            dry_s = at_s + (jitter_s if starved else 0.0)
            runs.append((samples, dry_s))
        dry_s += count / rate_hz
        samples += count
    return Playback(rate_hz=rate_hz, started_s=runs[0][1], ended_s=dry_s, runs=tuple(runs), stalls=tuple(stalls))


def _enough_s(reported_s: float | None, text_sent_s: Sequence[float], all_text_sent_s: float | None) -> float | None:
    """When a server that reported at `reported_s` that it waits certainly had text to speak; None if it never did."""
    if reported_s is None:
        return None
    later_s = [one for one in text_sent_s if one > reported_s]
    enough_s = later_s[ENOUGH_TEXTS - 1] if len(later_s) >= ENOUGH_TEXTS else math.inf
    return min(enough_s, math.inf if all_text_sent_s is None else max(reported_s, all_text_sent_s))


def leads_s(chunks: Sequence[tuple[float, int]], rate_hz: int) -> list[tuple[float, float]]:
    """(seconds since the first samples, seconds of audio ahead of the listener) just before and after each arrival."""
    points, ends_s = list[tuple[float, float]](), chunks[0][0]
    for at_s, count in chunks:
        since_s = at_s - chunks[0][0]
        points.append((since_s, max(0.0, ends_s - at_s)))
        ends_s = max(ends_s, at_s) + count / rate_hz
        points.append((since_s, ends_s - at_s))
    return points
