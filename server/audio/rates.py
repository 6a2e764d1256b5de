"""Which sample rates are offered, and which of them the vocoder speaks itself."""

from __future__ import annotations

from engines.families.phone_pointer.overlap_add import RATES_HZ

DEFAULT_RATE_HZ = 24_000
RESAMPLED_HZ = {22_050: 24_000, 44_100: 48_000}  # rate asked for: rate spoken
OFFERED_HZ = tuple(sorted((*RATES_HZ, *RESAMPLED_HZ)))


def spoken_rate_hz(rate_hz: int) -> int:
    return RESAMPLED_HZ.get(rate_hz, rate_hz)
