"""What a call costs, learned while it runs.

    t(rows, size) = factor[bucket of rows] * (base + rows * (row + unit * size))

The shape is a prior measured once; what a machine, its neighbours and its mood make of it is one factor for each power
of two of rows, a running mean of what calls took. For the LM `size` is the mean context, for the vocoder the codes of a
chunk. Wall time is what counts. Pure arithmetic over counts and times: no clock, no arrays. (A least-squares fit was
tried first: calls all alike wind it up, and one absurd prediction refuses everybody.)
"""

from __future__ import annotations

from dataclasses import dataclass

_MEMORY = 0.04  # weight of the newest call: some 25 calls make the factor
_TRUST = 4  # calls that the nearest bucket's factor is worth in a new one
_OUTLIER = 4.0  # a call this much over its prediction was interrupted and counts as this much


@dataclass(frozen=True, slots=True, kw_only=True)
class CostShape:
    """Seconds of a call without rows, of a row, and of a row's unit of size."""

    base_s: float
    row_s: float
    unit_s: float

    def cost_s(self, rows: int, size: float) -> float:
        return self.base_s + rows * (self.row_s + self.unit_s * size)

    def rows_where_base_is(self, share: float, size: float) -> float:
        """Rows with which a call spends such a share of its time on what it costs without any."""
        return self.base_s * (1 / share - 1) / (self.row_s + self.unit_s * size)


class CostModel:
    def __init__(self, shape: CostShape) -> None:
        self.shape = shape
        self._factors: dict[int, float] = {}  # by bit length of rows
        self._seen: dict[int, int] = {}

    def predict_s(self, rows: int, size: float) -> float:
        """Seconds for one call."""
        return self._factor(rows) * self.shape.cost_s(rows, size)

    def observe(self, rows: int, size: float, seconds: float) -> None:
        bucket, found = rows.bit_length(), seconds / self.shape.cost_s(rows, size)
        known, seen = self._factor(rows), self._seen.get(bucket, 0)
        # The first calls are averaged, what the neighbours know counting as a few of them: a cold first call is slow.
        weight = max(_MEMORY, 1 / (seen + 1 + _TRUST))
        found = min(found, _OUTLIER * known)
        self._factors[bucket], self._seen[bucket] = known + weight * (found - known), seen + 1

    def rows_within(self, seconds: float, size: float, most: int) -> int:
        """How many rows one call may hold to stay within `seconds`; at least 1, at most `most`."""
        low, high = 1, max(1, most)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.predict_s(middle, size) <= seconds else (low, middle - 1)
        return low

    def _factor(self, rows: int) -> float:
        """Of the bucket, or of the nearest that has been seen; 1 before the first call."""
        if not self._factors:
            return 1.0
        bucket = rows.bit_length()
        return self._factors[min(self._factors, key=lambda known: (abs(known - bucket), known))]
