"""How far ahead of its listener a stream is: the one playout clock, for the engine's plans and the server's figures.

A listener who plays from the first byte has heard `now - first` seconds, but never more than was sent; the lead is what
was sent beyond that. When the listener has run dry the clock stands still until audio comes again. Time spent waiting
for text that was not sent is not an underrun.

    first                  ends (runs dry)        next audio
    |-- plays -------------|                      |-- plays ...
    |-- lead shrinks ------|-- underrun, or excused while there was no text --|
"""

from __future__ import annotations


class Playout:
    def __init__(self, rate_hz: int, heard_samples: int = 0) -> None:
        """The first `heard_samples` are not sent to the listener, who has them: they give no lead."""
        self._rate_hz, self._heard_samples = rate_hz, heard_samples
        self.sent_samples = 0
        self.ends_s: float | None = None  # when the listener runs dry
        self.is_excused = False  # since the last audio: there was no text, or the listener did not read
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.underruns = 0
        self.underrun_s = 0.0
        self.waited_s = 0.0  # dry for want of text

    @property
    def sent_s(self) -> float:
        return self.sent_samples / self._rate_hz

    def sent(self, samples: int, now: float) -> float:
        """Returns when their first is played."""
        new = min(samples, max(0, self.sent_samples + samples - self._heard_samples))
        self.sent_samples += samples
        if samples and not new:
            return now
        if self.ends_s is None:
            self.first_s = self.ends_s = now
        if now > self.ends_s:
            self._dry(now - self.ends_s)
            self.ends_s = now
        self.is_excused = False
        self.last_s = now
        begins_s = self.ends_s
        self.ends_s += new / self._rate_hz
        return begins_s

    def _dry(self, gap_s: float) -> None:
        if self.is_excused:
            self.waited_s += gap_s
        else:
            self.underruns += 1
            self.underrun_s += gap_s

    @property
    def has_begun(self) -> bool:
        return self.ends_s is not None

    def waiting_for_text(self) -> None:
        self.is_excused = True

    def is_late(self, now: float) -> bool:
        """Whether audio sent now finds the listener dry, for want of speed and not of text."""
        return self.ends_s is not None and now > self.ends_s and not self.is_excused

    def lead_s(self, now: float) -> float:
        return 0.0 if self.ends_s is None else self.ends_s - now

    def played_s(self, now: float) -> float:
        """What a listener who started at the first byte has heard by now: never more than was sent."""
        return self.sent_s - max(0.0, self.lead_s(now))
