"""The sample rates that are offered; those that the model does not speak itself come through soxr.

soxr dithers 16-bit output, and its dither depends on how the input was cut. So it works in float here, and rounding
to 16 bits happens here: streamed and whole are the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import soxr

DEFAULT_RATE_HZ = 24_000
MODEL_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)  # asked of a model, where it speaks them
RESAMPLED_HZ = {22_050: 24_000, 44_100: 48_000}  # rate asked for: rate spoken
OFFERED_HZ = tuple(sorted((*MODEL_HZ, *RESAMPLED_HZ)))


def spoken_rate_hz(rate_hz: int, spoken: Sequence[int] = MODEL_HZ, native_hz: int = DEFAULT_RATE_HZ) -> int:
    """The rate to speak for an offered one: it, the one that it is best made of, or the model's own."""
    wanted = RESAMPLED_HZ.get(rate_hz, rate_hz)
    return wanted if wanted in spoken else native_hz


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
