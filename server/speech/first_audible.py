"""Where a listener first hears something: the audible TTFA's clock stops there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.leading_quiet import loud_windows, window_samples


class FirstAudible:
    """Where audio as it is sent has its first audible window, counted from each chunk's first sample."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._rest: NDArray[np.int16] | None = np.zeros(0, np.int16)  # less than a window; None once it is found

    def find(self, pcm: bytes) -> int | None:
        """The window's first sample in this chunk, below 0 where it began in the one before; None: not here."""
        if self._rest is None:
            return None
        samples = np.concatenate([self._rest, np.frombuffer(pcm, "<i2")])
        loud = np.flatnonzero(loud_windows(samples, self._rate_hz))
        if len(loud):
            found = int(loud[0]) * window_samples(self._rate_hz) - len(self._rest)
            self._rest = None
            return found
        whole = len(samples) // window_samples(self._rate_hz) * window_samples(self._rate_hz)
        self._rest = samples[whole:]
        return None
