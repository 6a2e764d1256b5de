"""Cache positions, counted in blocks of 16 and leased to sequences.

On the CPU a slot is one contiguous row and blocks are book-keeping only; a paged cache has the same interface. The
pool never hands out what it does not have, and `check` proves that nothing was lost.
"""

from __future__ import annotations

from engines.errors import IntegrityError

BLOCK_TOKENS = 16


class BlockPool:
    def __init__(self, num_blocks: int) -> None:
        self.total = num_blocks
        self.free = num_blocks
        self._leased: dict[int, int] = {}  # slot -> blocks

    def can_grow(self, slot: int, tokens: int) -> bool:
        return self._missing(slot, tokens) <= self.free

    def grow(self, slot: int, tokens: int) -> None:
        """Makes sure that `slot` holds at least `tokens` positions."""
        missing = self._missing(slot, tokens)
        if missing > self.free:
            raise IntegrityError(f"slot {slot} wants {missing} more blocks, {self.free} are free")
        if missing > 0:
            self.free -= missing
            self._leased[slot] = self._leased.get(slot, 0) + missing

    def release(self, slot: int) -> None:
        self.free += self._leased.pop(slot, 0)

    def check(self) -> None:
        leased = sum(self._leased.values())
        if self.free + leased != self.total:
            raise IntegrityError(f"blocks: {self.free} free + {leased} leased != {self.total}")

    def _missing(self, slot: int, tokens: int) -> int:
        return -(-tokens // BLOCK_TOKENS) - self._leased.get(slot, 0)
