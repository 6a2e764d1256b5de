"""Waiting for another process by the time for which this one has looked.

A time-out measures how long nothing came. A loop that was kept from running finds its timers due before it has read
what came meanwhile, and blames the other side for its own lateness. Here a tick that comes late counts as two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_TICKS = 20  # of a wait
_MAX_TICK_S = 0.25


@asynccontextmanager
async def watchdog(within_s: float) -> AsyncIterator[Watchdog]:
    """As `asyncio.timeout`. Raises TimeoutError."""
    async with asyncio.timeout(None) as limit:
        counting = Watchdog(within_s, limit)
        try:
            yield counting
        finally:
            counting.stop()


class Watchdog:
    def __init__(self, within_s: float, limit: asyncio.Timeout) -> None:
        self._within_s, self._limit = within_s, limit
        self._tick_s = min(_MAX_TICK_S, within_s / _TICKS)
        self._loop = asyncio.get_running_loop()
        self._waited_s = 0.0
        self._tick()

    def reset(self) -> None:
        """Something came."""
        if self._waited_s >= self._within_s and not self._limit.expired():
            self._limit.reschedule(None)  # at the last moment
            self._tick()
        self._waited_s = 0.0

    def stop(self) -> None:
        self._next.cancel()

    def _tick(self) -> None:
        self._ticked_s = self._loop.time()
        self._next = self._loop.call_later(self._tick_s, self._count)

    def _count(self) -> None:
        self._waited_s += min(self._loop.time() - self._ticked_s, 2 * self._tick_s)
        if self._waited_s >= self._within_s:
            self._limit.reschedule(self._loop.time())
        else:
            self._tick()
