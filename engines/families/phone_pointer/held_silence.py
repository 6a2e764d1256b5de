"""Silences the middle of a pause whose length the text gives: no model is trained on pauses of seconds.

A function of the samples and of where the pauses lie, whatever the chunks.

    pause     |--------------------------------|         start to end, as planned
    kept      ####                           ###         the end of the word before it, the breath of the next
    silenced      \\......................../
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_BEFORE_S, _BEHIND_S = 0.15, 0.03
_FADE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPause:
    """A part of a pause, in seconds from the utterance's first frame."""

    start_s: float
    end_s: float
    opens: bool  # behind a word
    closes: bool  # the whole pause


class HeldSilence:
    """Of one utterance, at one rate."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz, self._fade = rate_hz, int(_FADE_S * rate_hz)
        self._zones: deque[tuple[int, int]] = deque()  # samples, rising
        self._fed = 0

    def add(self, pause: HeldPause) -> None:
        """Before its samples come."""
        first = round((pause.start_s + _BEFORE_S * pause.opens) * self._rate_hz)
        last = round((pause.end_s - _BEHIND_S * pause.closes) * self._rate_hz)
        if last > first:
            self._zones.append((first, last))

    def feed(self, pcm: bytes) -> bytes:
        """s16le in and out, as many samples."""
        begin, end = self._fed, self._fed + len(pcm) // 2
        self._fed = end
        while self._zones and self._zones[0][1] + self._fade <= begin:
            self._zones.popleft()
        if not self._zones or self._zones[0][0] - self._fade >= end:
            return pcm
        places = np.arange(begin, end)
        gain = np.ones(end - begin, np.float32)
        for first, last in self._zones:
            outside = np.maximum(np.maximum(first - places, places - last + 1), 0)
            np.minimum(gain, outside / np.float32(self._fade), out=gain)
        return (np.frombuffer(pcm, "<i2") * gain).astype("<i2").tobytes()
