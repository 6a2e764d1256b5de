"""How a server leaves without cutting a reply, whatever host runs it.

    serving --SIGTERM--> leaving --DRAIN_DELAY_S--> draining --last live utterance, or DRAIN_S--> done
                         /ready is 503,             new work is refused with 503,
                         new work is still served   idle sockets are closed with 1012

Balancers notice the red readiness within the delay, so none of what they still send is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from server.errors import ApiError

DRAINING = "the server is about to stop; connect again to reach another"
_CUT = "the server stopped before this was spoken to its end; connect again to reach another"
_TOLD_S = 1.0  # within which listeners are told


class Live:
    """Utterances in progress, by id, and how each is ended."""

    def __init__(self) -> None:
        self._ids: dict[str, Callable[[ApiError], None]] = {}
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, utterance_id: str, fail: Callable[[ApiError], None]) -> None:
        self._ids[utterance_id] = fail
        self._none.clear()

    def fail(self, error: ApiError) -> int:
        """Ends all of them. Returns how many."""
        ending = [*self._ids.values()]
        for fail in ending:
            fail(error)
        return len(ending)

    def discard(self, utterance_id: str) -> None:
        self._ids.pop(utterance_id, None)
        if not self._ids:
            self._none.set()

    async def ended(self) -> None:
        """Returns once there is none."""
        await self._none.wait()


class Shutdown:
    def __init__(self, live: Live) -> None:
        self.leaving = False  # not ready: balancers send elsewhere from their next look on
        self._live = live
        self._draining = asyncio.Event()
        self._running: asyncio.Task[bool] | None = None

    @property
    def draining(self) -> bool:
        """Nothing new begins."""
        return self._draining.is_set()

    async def draining_begins(self) -> None:
        await self._draining.wait()

    async def drain(self, delay_s: float, within_s: float) -> bool:
        """Returns whether all live utterances have finished. A second call waits for the first, whose limits hold."""
        if self._running is None:
            self.leaving = True
            self._running = asyncio.ensure_future(self._run(delay_s, within_s))
        return await asyncio.shield(self._running)

    async def _run(self, delay_s: float, within_s: float) -> bool:
        if delay_s:
            await asyncio.sleep(delay_s)
        self._draining.set()
        try:
            async with asyncio.timeout(within_s):
                await self._live.ended()
        except TimeoutError:
            return False
        return True

    async def cut(self) -> int:
        """Ends what still speaks; each listener is told so. Returns how many there were."""
        self.leaving = True
        self._draining.set()
        count = self._live.fail(ApiError("draining", _CUT, retry_after_s=1))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TOLD_S):
                await self._live.ended()
        return count

    def check(self) -> None:
        """Raises ApiError while draining."""
        if self.draining:
            raise ApiError("draining", DRAINING, retry_after_s=1)
