"""Rows of the cache, lowest free one first, so that running sequences stay close together in one batch range."""

from __future__ import annotations

import heapq

from engines.errors import IntegrityError


class SlotPool:
    def __init__(self, count: int) -> None:
        self.count = count
        self._free = list(range(count))
        self._leased: set[int] = set()

    @property
    def free(self) -> int:
        return len(self._free)

    def allocate(self) -> int | None:
        """A slot, or None when all are leased."""
        if not self._free:
            return None
        slot = heapq.heappop(self._free)
        self._leased.add(slot)
        return slot

    def release(self, slot: int) -> None:
        if slot not in self._leased:
            raise IntegrityError(f"slot {slot} was released twice")
        self._leased.remove(slot)
        heapq.heappush(self._free, slot)

    def check(self) -> None:
        if len(self._free) + len(self._leased) != self.count:
            raise IntegrityError(f"slots: {len(self._free)} free + {len(self._leased)} leased != {self.count}")
