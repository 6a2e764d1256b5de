"""Withholds the quiet before an utterance's first audible window, so that the first samples sent are heard.

A function of the samples alone, whatever their chunks. Windows of 10 ms count from the utterance's first sample.

    level    . . . - - - = = #         # first window of -45 dBFS   = soft opening (h, f, th), -50 dBFS or more
    sent                 [ = = #       of = 20 to 50 ms; less of it is a mere onset: # comes first; 1 ms fades in

Without any audible window the utterance is sent whole, at its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AUDIBLE_DBFS = -45.0
_SOFT_DBFS = -50.0  # h and f of the shipped voices lie above it up to their vowel, closures of p, t and k below
_SOFT_WINDOWS = range(2, 6)
_FADE_S = 0.001  # a step from nothing could click; longer would take the first window below its level


def window_samples(rate_hz: int) -> int:
    return rate_hz // 100


def loud_windows(samples: NDArray[np.int16], rate_hz: int, dbfs: float = AUDIBLE_DBFS) -> NDArray[np.bool_]:
    """samples [S] -> [S // window]: whether each whole window has at least this level (RMS)."""
    window = window_samples(rate_hz)
    whole = samples[: len(samples) // window * window].reshape(-1, window).astype(np.float64) / 32768
    loud: NDArray[np.bool_] = np.square(whole).mean(axis=1) >= 10 ** (dbfs / 10)
    return loud


class LeadingQuiet:
    """Of one utterance, at one rate."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz, self._window = rate_hz, window_samples(rate_hz)
        self._held = np.zeros(0, np.int16)
        self._searched = 0  # windows known to be quiet
        self.is_over = False
        self.withheld = 0  # samples that are never sent; final once it is over

    def feed(self, pcm: bytes, *, last: bool) -> bytes:
        """s16le in, what may be sent out: nothing before the first audible window is there."""
        if self.is_over:
            return pcm
        self._held = np.concatenate([self._held, np.frombuffer(pcm, "<i2")])
        loud = np.flatnonzero(loud_windows(self._held[self._searched * self._window :], self._rate_hz))
        if len(loud):
            return self._begin(self._searched + int(loud[0]))
        self._searched = len(self._held) // self._window
        if not last:
            return b""
        self.is_over = True
        return self._held.tobytes()

    def _begin(self, audible: int) -> bytes:
        first = max(0, audible - _SOFT_WINDOWS[-1])
        soft = loud_windows(self._held[first * self._window : audible * self._window], self._rate_hz, _SOFT_DBFS)
        run = next((count for count, is_soft in enumerate(soft[::-1]) if not is_soft), len(soft))
        start = audible - run if run in _SOFT_WINDOWS else audible
        fade = round(self._rate_hz * _FADE_S)
        self.is_over = True
        self.withheld = start * self._window
        sent = self._held[self.withheld :].copy()
        self._held = np.zeros(0, np.int16)
        if self.withheld:
            sent[:fade] = np.rint(sent[:fade] * (np.arange(fade) / fade))
        return sent.astype("<i2").tobytes()
