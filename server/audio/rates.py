"""Which sample rates are offered, and which of them a model speaks itself."""

from __future__ import annotations

from collections.abc import Sequence

from engines.families.phone_pointer.overlap_add import RATES_HZ

DEFAULT_RATE_HZ = 24_000
RESAMPLED_HZ = {22_050: 24_000, 44_100: 48_000}  # rate asked for: rate spoken
OFFERED_HZ = tuple(sorted((*RATES_HZ, *RESAMPLED_HZ)))


def spoken_rate_hz(rate_hz: int, spoken: Sequence[int] = RATES_HZ) -> int:
    """The rate to speak for an offered one: it, the one that it is best made of, or the model's own."""
    wanted = RESAMPLED_HZ.get(rate_hz, rate_hz)
    return wanted if wanted in spoken else spoken[0]
