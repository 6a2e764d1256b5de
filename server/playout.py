"""How far ahead of its listener a stream is.

A listener who plays from the first byte has heard `now - first` seconds; the lead is what was sent beyond that. Time
spent waiting for text that was not sent is not an underrun: the clock stands still until audio comes again.
"""

from __future__ import annotations


class Playout:
    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._sent_samples = 0
        self._ends_s: float | None = None  # when the listener runs dry
        self._excused = False
        self.first_s: float | None = None
        self.underruns = 0

    @property
    def sent_s(self) -> float:
        return self._sent_samples / self._rate_hz

    def sent(self, samples: int, now: float) -> None:
        if self._ends_s is None:
            self.first_s = self._ends_s = now
        if now > self._ends_s:
            self.underruns += not self._excused
            self._ends_s = now
        self._excused = False
        self._ends_s += samples / self._rate_hz
        self._sent_samples += samples

    def waiting_for_text(self) -> None:
        self._excused = True

    def lead_s(self, now: float) -> float:
        return 0.0 if self._ends_s is None else self._ends_s - now
