"""Admits or rejects a request: capacity from the device profile, predicted first audio, and a guard on what really
happens.

The guard limits the streams generated at once. Lateness and rejections lower it by a share, quiet time raises it by
equal steps. A saturated machine makes as many frames for few streams as for many, but each of few has more lead.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.config import EngineConfig
from engines.scheduling.device_profile import DeviceProfile

_MOST = 2 / 5  # of what the machine sustains, that may be generated at once: each stream gains lead
_DECREASE = 0.9
_INCREASE = 1 / 800  # of capacity, in the time of a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    running: int  # sequences that speak or are about to
    first_pending: int  # of them, those without audio
    busy: int = 0  # of them, those being generated: not starved of text, paused or far ahead


class Admission:
    def __init__(
        self, config: EngineConfig, profile: DeviceProfile, first_frames: tuple[int, int], opening: int = 0
    ) -> None:
        """`first_frames`: of a first chunk, with time left and under load, behind `opening` silent ones."""
        self._config, self._profile = config, profile
        self._first_frames = opening + first_frames[0], opening + first_frames[1]
        self._share = _MOST  # of capacity, that may be generated at once
        self._seen_at_s: float | None = None
        self._late_at_s = float("-inf")

    @property
    def capacity(self) -> int:
        """Streams that can be kept at real time, all of them speaking."""
        return max(1, min(self._config.slots, int(self._sustained)))

    @property
    def _sustained(self) -> float:
        """By the machine, however many slots there are."""
        return self._profile.capacity(self._config.job_frames) if self._profile.measured else self._config.slots

    def streams_left(self, load: Load) -> int:
        capacity = self.capacity
        return max(0, min(capacity - load.running, self._most_busy(capacity) - load.busy))

    def predicted_ttfa_s(self, load: Load) -> float:
        """Of one more stream: the calls under way, then its own and those of the streams that wait before it."""
        config, profile, waiting = self._config, self._profile, load.first_pending + 1
        frames = self._first_frames[profile.is_crowded(load.running + 1)]
        rows, busy, under_way_s = max(1, config.job_frames // frames), load.busy - load.first_pending, 0.0
        if busy > 0:
            step_s = profile.step_s(min(busy, profile.efficient_rows))
            under_way_s = step_s + profile.job_s(min(config.job_frames, busy * frames))
        batches, jobs = -(-waiting // config.max_batch), -(-waiting // rows)
        steps_s = frames * batches * profile.step_s(min(waiting, config.max_batch))
        return under_way_s + steps_s + jobs * profile.job_s(frames * min(waiting, rows))

    def refusal(self, load: Load) -> str | None:
        """Why one more stream cannot be served in time; None when it can, and when it would be the only one."""
        if not load.running and not load.first_pending:
            return None
        capacity = self.capacity
        if load.running >= capacity:
            return self._rejected(f"{load.running} streams are running, this machine sustains {capacity}")
        if load.busy >= (most := self._most_busy(capacity)):
            return self._rejected(f"{load.busy} streams are being generated, with this load at most {most}")
        predicted_s = self.predicted_ttfa_s(load)
        if predicted_s > self._config.max_ttfa_s:
            limit_ms = 1000 * self._config.max_ttfa_s
            return self._rejected(f"first audio would take {1000 * predicted_s:.0f} ms, the limit is {limit_ms:.0f} ms")
        return None

    def saw_late(self, now: float) -> None:
        """A chunk came after its listener had run dry. Those within one frame are one event."""
        if now - self._late_at_s > self._profile.frame_s:
            self._late_at_s = now
            self._lower()

    def saw_time(self, now: float) -> None:
        if self._seen_at_s is not None:
            self._share = min(_MOST, self._share + _INCREASE * (now - self._seen_at_s) / self._profile.frame_s)
        self._seen_at_s = now

    def _most_busy(self, capacity: int) -> int:
        if not self._profile.measured:
            return capacity
        fewest = self._profile.few_rows
        return min(capacity, max(fewest, round(self._share * self._sustained)))

    def _rejected(self, reason: str) -> str:
        self._lower()
        return reason

    def _lower(self) -> None:
        fewest = self._profile.few_rows
        self._share = max(fewest / self._sustained, _DECREASE * self._share)
