"""A rate with a burst: tokens come evenly, up to `burst` of them are kept."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    def __init__(self, per_s: float, burst: int, clock: Callable[[], float]) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left, self._filled_s = float(burst), clock()

    def take(self) -> float:
        """Takes one and returns for how many seconds it is missing: 0 within the rate."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._filled_s) * self._per_s) - 1
        self._filled_s = now
        return max(0.0, -self._left / self._per_s)
