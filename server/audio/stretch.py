"""Speaking rate without a change of pitch, as a stream: WSOLA (Verhelst and Roelands, 1993) on 16-bit samples.

Output is laid down in hops. Each hop fades from the natural continuation of what was laid before into the piece of
input, near the place that the tempo asks for, that resembles this continuation most. A hop depends on the input and its
own number alone, so streamed equals whole byte for byte in any chunking. The speech model itself keeps the pace inside
the engine's limits; only the factor beyond that is made here.

    input   |----------- p[k] ======|====== ----------->      p[k] within SEARCH of k * hop * tempo
    output            k * hop |======|                        p[k]'s first hop fades in over p[k-1]'s second
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_HOP_S = 0.0125
_SEARCH_S = 0.008  # to both sides: together more than a period of a voice of 65 Hz


def split_speed(speed: float, spoken: tuple[float, float]) -> tuple[float, float]:
    """What the speech model is asked for, which speaks at `spoken` speeds, and the tempo that remains. Their product is
    `speed`."""
    model_speed = min(max(speed, spoken[0]), spoken[1])
    return model_speed, speed / model_speed


@lru_cache(maxsize=16)
def _fade_in(hop: int) -> NDArray[np.float64]:
    """[hop], the rising half of a Hann window. Kept, since each utterance wants it before its first audio."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * (np.arange(hop) + 0.5) / hop))


class TimeStretch:
    """s16le in, s16le out; `tempo` 2 halves the length. Whole length: input samples / tempo, rounded."""

    def __init__(self, rate_hz: int, tempo: float) -> None:
        self._hop, self._search, self._tempo = round(rate_hz * _HOP_S), round(rate_hz * _SEARCH_S), tempo
        self._fade_in = _fade_in(self._hop)
        self._input = np.zeros(0)  # [S] samples from self._first on; float64 holds 16 bits and their sums exactly
        self._first = 0
        self._piece = 0  # where the last hop's piece of input starts
        self._hops = 0
        self._received = 0

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        if self._tempo == 1.0:
            return pcm
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        self._received += len(samples)
        self._input = np.concatenate([self._input, samples])
        whole = round(self._received / self._tempo)
        made = self._hops * self._hop
        if last:
            # Hops at the very end may look beyond the input; there is silence.
            self._input = np.pad(self._input, (0, 4 * self._hop + 2 * self._search))
        parts = []
        while self._hops * self._hop < whole if last else self._reaches():
            parts.append(self._next_hop())
        self._forget()
        out = np.concatenate(parts) if parts else np.zeros(0)
        if last:
            out = out[: whole - made]
        return np.rint(out).astype("<i2").tobytes()

    def _reaches(self) -> bool:
        """All that the next hop looks at is here, and the whole will not end within it."""
        needed = max(self._piece + 2 * self._hop, self._wanted() + self._search + self._hop)
        return needed <= self._received and (self._hops + 1) * self._hop <= int(self._received / self._tempo)

    def _wanted(self) -> int:
        return int(self._hops * self._hop * self._tempo)

    def _next_hop(self) -> NDArray[np.float64]:
        hop = self._hop
        if self._hops == 0:
            self._hops = 1
            return self._at(0, hop)
        natural = self._at(self._piece + hop, hop)
        self._piece = self._resembling(natural)
        self._hops += 1
        return natural + (self._at(self._piece, hop) - natural) * self._fade_in

    def _resembling(self, natural: NDArray[np.float64]) -> int:
        """Where the piece starts whose first hop goes best with `natural` [hop]: the highest normalised correlation."""
        hop = self._hop
        lowest = max(self._wanted() - self._search, self._first)
        count = self._wanted() + self._search - lowest + 1
        window = self._at(lowest, count + hop - 1)
        squares = np.concatenate([[0.0], np.cumsum(window * window)])
        energy = squares[hop:] - squares[:-hop]
        likeness = np.correlate(window, natural, "valid") / np.sqrt(np.maximum(energy, 1.0))
        best = int(np.argmax(likeness))
        return lowest + best if likeness[best] > 0 else self._wanted()

    def _at(self, start: int, count: int) -> NDArray[np.float64]:
        return self._input[start - self._first : start - self._first + count]

    def _forget(self) -> None:
        """Drops input that no later hop looks at."""
        keep = min(self._piece + self._hop, max(self._wanted() - self._search, 0))
        keep = min(max(keep, self._first), self._first + len(self._input))
        self._input, self._first = self._input[keep - self._first :], keep
