"""Rates that the vocoder does not speak itself, through soxr.

soxr dithers 16-bit output, and its dither depends on how the input was cut. So it works in float here, and rounding
to 16 bits happens here: streamed and whole are the same bytes.
"""

from __future__ import annotations

import numpy as np
import soxr

from server.audio.rates import spoken_rate_hz


class Resampler:
    """s16le at the spoken rate to s16le at the asked one; passes through when they are the same."""

    def __init__(self, rate_hz: int, spoken: int | None = None) -> None:
        """`spoken`: of the model, where it does not speak all that the shipped voice does."""
        spoken = spoken_rate_hz(rate_hz) if spoken is None else spoken
        self._stream = None if spoken == rate_hz else soxr.ResampleStream(spoken, rate_hz, 1, dtype="float32")

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        if self._stream is None:
            return pcm
        samples = self._stream.resample_chunk(np.frombuffer(pcm, "<i2").astype(np.float32), last=last)
        clipped: bytes = np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()
        return clipped
