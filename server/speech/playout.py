"""How far ahead of its listener a stream is.

A listener who plays from the first byte has heard `now - first` seconds, but never more than was sent; the lead is what
was sent beyond that. When the listener has run dry the clock stands still until audio comes again. Time spent waiting
for text that was not sent is not an underrun.

    first                  ends (runs dry)        next audio
    |-- plays -------------|                      |-- plays ...
    |-- lead shrinks ------|-- underrun, or excused while there was no text --|
"""

from __future__ import annotations


class Playout:
    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._sent_samples = 0
        self._ends_s: float | None = None  # when the listener runs dry
        self._excused = False
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.underruns = 0
        self.underrun_s = 0.0
        self.waited_s = 0.0  # dry for want of text

    @property
    def sent_s(self) -> float:
        return self._sent_samples / self._rate_hz

    def sent(self, samples: int, now: float) -> float:
        """Returns when their first is played."""
        if self._ends_s is None:
            self.first_s = self._ends_s = now
        if now > self._ends_s:
            self._dry(now - self._ends_s)
            self._ends_s = now
        self._excused = False
        self.last_s = now
        begins_s = self._ends_s
        self._ends_s += samples / self._rate_hz
        self._sent_samples += samples
        return begins_s

    def _dry(self, gap_s: float) -> None:
        if self._excused:
            self.waited_s += gap_s
        else:
            self.underruns += 1
            self.underrun_s += gap_s

    def waiting_for_text(self) -> None:
        self._excused = True

    def lead_s(self, now: float) -> float:
        return 0.0 if self._ends_s is None else self._ends_s - now

    def played_s(self, now: float) -> float:
        """What a listener who started at the first byte has heard by now: never more than was sent."""
        return self.sent_s - max(0.0, self.lead_s(now))
