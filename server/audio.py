"""How PCM leaves: raw or in a WAV, at rates the vocoder does not speak itself through soxr."""

from __future__ import annotations

import struct

import numpy as np
import soxr

from engines.overlap_add import RATES_HZ

DEFAULT_RATE_HZ = 24_000
RESAMPLED_HZ = {22_050: 24_000, 44_100: 48_000}  # rate asked for: rate spoken
OFFERED_HZ = tuple(sorted((*RATES_HZ, *RESAMPLED_HZ)))
MEDIA_TYPES = {"pcm": "audio/pcm", "wav": "audio/wav"}
_UNKNOWN_SIZE = 0xFFFFFFFF


def spoken_rate_hz(rate_hz: int) -> int:
    return RESAMPLED_HZ.get(rate_hz, rate_hz)


def wav_header(rate_hz: int, data_bytes: int | None = None) -> bytes:
    """44 bytes, s16le mono; a stream's sizes are unknown and written as the largest, which players accept."""
    riff = _UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes
    data = _UNKNOWN_SIZE if data_bytes is None else data_bytes
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    return header + struct.pack("<4sI", b"data", data)


class Resampler:
    """s16le at the spoken rate to s16le at the asked one; passes through when they are the same."""

    def __init__(self, rate_hz: int) -> None:
        spoken = spoken_rate_hz(rate_hz)
        self._stream = None if spoken == rate_hz else soxr.ResampleStream(spoken, rate_hz, 1, dtype="int16")

    def feed(self, pcm: bytes, *, last: bool = False) -> bytes:
        if self._stream is None:
            return pcm
        samples: bytes = self._stream.resample_chunk(np.frombuffer(pcm, np.int16), last=last).tobytes()
        return samples
