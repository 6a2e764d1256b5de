"""How many replicas a day needs: a simulation of the autoscaler's rule over a recorded trace. No server runs.

    python -m loadtests.capacity_plan build/bench/load-streams.jsonl.gz --peak 10000 --capacity 100

The trace is what every load test leaves in build/bench: when streams began, and how long they spoke. A stream holds its
place for as long as it speaks, as one does that is fed by an LLM. The day is drawn from the trace: its streams return
at random moments, as many as the day's curve asks for, and once more than that within a minute.

The rule is that of deploy/kubernetes/overlays/keda: replicas = streams / (target x capacity of a replica), looked at
every `POLL_S`; at most twice as many replicas within 15 s; fewer only after 300 s, one a minute. It is simulated:
kubelet, KEDA and the balancer are not run.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE_HZ = 24_000
POLL_S = 5
UP_EVERY_S, UP_FACTOR = 15, 2
DOWN_AFTER_S, DOWN_EVERY_S = 300, 60
NIGHT = 0.2  # of the peak
DAY_S = 86_400
SURGE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    capacity: int  # streams that a replica sustains
    target: float = 0.7  # of it, that the rule aims at
    start_s: int = 30  # from the decision to a ready replica, on a node that is there
    fewest: int = 2
    most: int = 10_000

    def wanted(self, streams: float) -> int:
        return min(self.most, max(self.fewest, math.ceil(streams / (self.target * self.capacity))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    offered: int
    rejected: int  # no replica had room
    peak_streams: int
    peak_replicas: int
    replica_hours: float


def recorded_lengths_s(path: Path) -> list[float]:
    """Seconds of speech of the streams that were heard to their end. Raises ValueError."""
    with gzip.open(path, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    lengths_s = [row["samples"] / RATE_HZ for row in rows if row["end"] == "done" and row["samples"]]
    if not lengths_s:
        raise ValueError(f"{path} has no stream that was heard to its end")
    return lengths_s


def day_curve(second: int, peak: float, surge: float) -> float:
    """Streams wanted at once: least at 4 h, most at 16 h, and at noon `surge` of the peak more within a minute."""
    daily = NIGHT + (1 - NIGHT) * (1 - math.cos(2 * math.pi * (second - 4 * 3_600) / DAY_S)) / 2
    since_noon_s = second - DAY_S // 2
    surging = min(1.0, max(0.0, since_noon_s / SURGE_S)) if since_noon_s < 1_800 else 0.0
    return peak * (daily + surge * surging)


class Ends:
    """Streams that speak, by the second in which they end. Lengths are recorded ones, in whole seconds."""

    def __init__(self, lengths_s: Sequence[float], rng: np.random.Generator) -> None:
        seconds = np.bincount([max(1, round(length_s)) for length_s in lengths_s])
        self._share, self._rng = seconds / seconds.sum(), rng
        self._ending = np.zeros(len(seconds), dtype=np.int64)  # in so many seconds
        self.speaking = 0

    def begin(self, count: int) -> None:
        self._ending += self._rng.multinomial(count, self._share)
        self.speaking += count

    def pass_second(self) -> None:
        self.speaking -= int(self._ending[1])
        self._ending[1:-1] = self._ending[2:].copy()
        self._ending[-1] = 0


class Replicas:
    """The rule: how many there are, second by second."""

    def __init__(self, fleet: Fleet, streams: float) -> None:
        """`streams`: for which there are enough when the day begins."""
        self._fleet, self.ready = fleet, fleet.wanted(streams)
        self._starting = deque[int]()  # when each of those that start is ready
        self._lately = deque[tuple[int, int]]()  # what was wanted, and when
        self._up_at = self._down_at = -DAY_S

    @property
    def count(self) -> int:
        return self.ready + len(self._starting)

    def pass_second(self, now: int) -> None:
        while self._starting and self._starting[0] <= now:
            self._starting.popleft()
            self.ready += 1

    def poll(self, now: int, streams: int) -> None:
        fleet = self._fleet
        wanted = fleet.wanted(streams)
        self._lately.append((now, wanted))
        while self._lately[0][0] < now - DOWN_AFTER_S:
            self._lately.popleft()
        if wanted > self.count and now - self._up_at >= UP_EVERY_S:
            more = min(wanted, UP_FACTOR * self.count) - self.count
            self._starting.extend([now + fleet.start_s] * more)
            self._up_at = now
        elif max(one for _, one in self._lately) < self.ready and now - self._down_at >= DOWN_EVERY_S:
            self.ready, self._down_at = self.ready - 1, now  # its streams finish: it drains


def arrivals(curve: Sequence[float], lengths_s: Sequence[float], rng: np.random.Generator) -> Iterator[int]:
    """Streams that begin in each second: a Poisson process that keeps the curve's number speaking."""
    mean_s = sum(lengths_s) / len(lengths_s)
    return (int(rng.poisson(wanted / mean_s)) for wanted in curve)


def simulate(begun: Iterable[int], ends: Ends, fleet: Fleet, streams: float = 0.0) -> Outcome:
    """`streams`: for which there are enough replicas at the start."""
    replicas = Replicas(fleet, streams)
    offered = rejected = peak_streams = peak_replicas = replica_s = 0
    for now, count in enumerate(begun):
        ends.pass_second()
        replicas.pass_second(now)
        taken = max(0, min(count, replicas.ready * fleet.capacity - ends.speaking))
        ends.begin(taken)
        offered, rejected = offered + count, rejected + count - taken
        if now % POLL_S == 0:
            replicas.poll(now, ends.speaking)
        peak_streams, peak_replicas = max(peak_streams, ends.speaking), max(peak_replicas, replicas.count)
        replica_s += replicas.count
    return Outcome(
        offered=offered,
        rejected=rejected,
        peak_streams=peak_streams,
        peak_replicas=peak_replicas,
        replica_hours=replica_s / 3_600,
    )


def plan(lengths_s: Sequence[float], fleet: Fleet, *, peak: float, surge: float, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    curve = [day_curve(second, peak, surge) for second in range(DAY_S)]
    return simulate(arrivals(curve, lengths_s, rng), Ends(lengths_s, rng), fleet, curve[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--peak", type=float, default=10_000, help="streams at once at the busiest hour")
    parser.add_argument("--capacity", type=int, default=100, help="tts_capacity_streams of a replica")
    parser.add_argument("--surge", type=float, nargs="+", default=[0.0, 0.2, 0.5], help="of the peak, within a minute")
    parser.add_argument("--target", type=float, nargs="+", default=[0.7], help="of the capacity")
    parser.add_argument("--start", type=int, nargs="+", default=[30, 120], help="seconds until a new replica is ready")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    lengths_s = recorded_lengths_s(asked.trace)
    print(f"{len(lengths_s)} recorded streams, {sum(lengths_s) / len(lengths_s):.1f} s of speech on average\n")
    print("| target | start s | surge | streams offered | rejected | most streams | most replicas | replica hours |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for target in asked.target:
        for start_s in asked.start:
            fleet = Fleet(capacity=asked.capacity, target=target, start_s=start_s)
            for surge in asked.surge:
                found = plan(lengths_s, fleet, peak=asked.peak, surge=surge, seed=asked.seed)
                share = 100 * found.rejected / found.offered
                print(
                    f"| {target:g} | {start_s} | {surge:.0%} | {found.offered:,} | {found.rejected:,} ({share:.3f} %) "
                    f"| {found.peak_streams:,} | {found.peak_replicas:,} | {found.replica_hours:,.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
