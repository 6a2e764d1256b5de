"""What this machine needs for each part of the work: CPU seconds of the thread that does it, of a device all seconds.

A step of the LM and a vocoder job by size, and the time of the loop and of the edge around them: capacity and all
planning follow from these and from the frame time. It learns from measurements and from full batches alone, so idle
hours and lone streams change nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

_SAMPLES = 9  # kept of each size
_USABLE = 0.9  # of one worker's time; the rest absorbs bursts of arrivals
_LOADED = 1.55  # with two workers a round under full load costs at least so much more than rehearsed: plans over all
# streams, longer contexts, and what workers share (the interpreter's lock, caches)
_EFFICIENT = 1.25  # a batch costs at most so much more a row than the best one
_EDGE_ROWS = 0.5  # the edge's work on a frame, in the loop's own: an estimate, the edge is another process
_MEMORY_FRAMES = 25  # of batches; what the correction factor averages over
_OUTLIER = 4.0  # a round this much over its prediction was interrupted, and counts as this much
_CORRECTIONS = (1 / 8, 8.0)


class Curve:
    """Seconds of a call by its size: lower quartiles at measured sizes, since what other processes do can only add to a
    time; straight lines between and beyond."""

    def __init__(self) -> None:
        self._samples: dict[int, list[float]] = {}
        self._points: list[tuple[int, float]] = []  # by size; seconds never fall
        self._seconds: dict[int, float] = {}  # what was asked since then: every plan asks for the same few sizes
        self._efficient: dict[int, int] = {}  # and the same size
        self.measured = False

    def add(self, size: int, seconds: float) -> None:
        found = self._samples.setdefault(size, [])
        found.append(seconds)
        del found[:-_SAMPLES]
        points, least = list[tuple[int, float]](), math.inf
        for at in sorted(self._samples, reverse=True):  # a smaller call that seems to take longer was interrupted
            samples = sorted(self._samples[at])
            least = min(least, samples[len(samples) // 4])
            points.insert(0, (at, least))
        self._points, self._seconds, self._efficient = points, {}, {}  # at once: another thread may ask meanwhile
        self.measured = len(points) > 1

    def __call__(self, size: int) -> float:
        known = self._seconds
        if size not in known:
            known[size] = self._between(size)
        return known[size]

    def efficient(self, most: int) -> int:
        """The smallest size up to `most` with which each costs hardly more than with the best."""
        known = self._efficient
        if most not in known:
            costs = {size: self(size) / size for size in (1 << power for power in range(most.bit_length()))}
            known[most] = next(size for size, cost in costs.items() if cost <= _EFFICIENT * min(costs.values()))
        return known[most]

    def _between(self, size: int) -> float:
        points = self._points
        at = min(max(1, bisect_left(points, (size, 0.0))), len(points) - 1)
        (low, low_s), (high, high_s) = points[at - 1], points[at]
        return max(0.0, low_s + (high_s - low_s) * (size - low) / (high - low))


@dataclass(slots=True, kw_only=True)
class DeviceProfile:
    frame_s: float
    cores: int
    overlaps: bool  # the vocoder has a thread of its own
    max_batch: int = 64  # rows of a step
    steps: Curve = field(default_factory=Curve)  # by rows
    jobs: Curve = field(default_factory=Curve)  # by frames, of all rows together
    loop_row_s: float | None = None  # the loop's own time for one frame of one row; None until it was rehearsed
    correction: float = 1.0  # observed over predicted, of full batches

    @property
    def measured(self) -> bool:
        return self.steps.measured and self.jobs.measured and self.loop_row_s is not None

    def step_s(self, rows: int) -> float:
        """Seconds of one round: a call of the LM and the loop's work on its rows. Unmeasured: a fast machine's."""
        if not self.steps.measured:
            return self.frame_s / 100 * (1 + rows / 5)
        return self.correction * (self.steps(rows) + rows * (self.loop_row_s or 0.0))

    def job_s(self, frames: int) -> float:
        if not self.jobs.measured:
            return self.frame_s / 100 * (1 + frames / 3)
        return self.correction * self.jobs(frames)

    def rows_within(self, seconds: float) -> int:
        """Rows that one round may hold to stay within `seconds`; at least 1."""
        return max(1, bisect_right(range(1, self.max_batch + 1), seconds, key=self.step_s))

    @property
    def efficient_rows(self) -> int:
        """Of a batch: a longer call only delays the next."""
        return self.steps.efficient(self.max_batch) if self.steps.measured else 8

    @property
    def few_rows(self) -> int:
        """Half an efficient batch: the machine is kept busy, and a new stream waits for few others."""
        return max(1, self.efficient_rows // 2)

    def rows_of_a_call(self) -> int:
        """Rows that cost as much as another call does before its first row."""
        if not self.steps.measured:
            return 3
        row_s = (self.steps(8) - self.steps(1)) / 7
        return min(8, int((self.steps(1) - row_s) / row_s)) if row_s > 0 else 8

    def is_crowded(self, running: int) -> bool:
        """Whether a step of so many streams takes a good part of the time that the frame lasts."""
        return self.step_s(running) > self.frame_s / 3

    def capacity(self, job_frames: int) -> float:
        """Streams at real time. The busiest worker decides, or the cores that all share."""
        rows = min(self.efficient_rows, self.rows_within(_USABLE * self.frame_s))  # each waits for the whole step
        loop_s = self.step_s(rows) / rows
        frames = max(1, job_frames // 2)  # first chunks are small, and jobs half full
        vocoder_s = self.job_s(frames) / frames
        busiest_s = max(loop_s, vocoder_s) if self.overlaps else loop_s + vocoder_s
        usable = _USABLE
        if self.overlaps and self.cores > 1:  # until a full load has been seen, what it will cost
            usable *= min(1.0, self.correction / _LOADED)
        all_s = loop_s + vocoder_s + _EDGE_ROWS * (self.loop_row_s or 0.0)
        return usable * self.frame_s / max(busiest_s, all_s / self.cores)

    @property
    def lone_rtf(self) -> float:
        """Seconds that one stream alone takes for a second of its audio, above 1 with gaps; 0: not measured."""
        if not (self.steps.measured and self.jobs.measured):
            return 0.0
        step_s, job_s = self.step_s(1), self.job_s(1)
        return (max(step_s, job_s) if self.overlaps and self.cores > 1 else step_s + job_s) / self.frame_s

    def saw_batch(self, predicted_s: float, observed_s: float) -> None:
        """A round over a full batch. Smaller ones are not what the prediction is for."""
        found = self.correction * min(observed_s / predicted_s, _OUTLIER)
        weight = min(1.0, predicted_s / (_MEMORY_FRAMES * self.frame_s))
        low, high = _CORRECTIONS
        self.correction = min(high, max(low, self.correction + weight * (found - self.correction)))
