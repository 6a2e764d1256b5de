"""Encoders that are arithmetic: 16-bit and float PCM, G.711, WAV. Cheap enough for the event loop.

G.711 is looked up in tables of all 65,536 samples, made once from the standard's definition.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

_UNKNOWN_SIZE = 0xFFFFFFFF
_MU_BIAS, _MU_CLIP = 132, 32_635


_PCM_TAG = 1  # WAVE_FORMAT_PCM


def wav_header(rate_hz: int, data_bytes: int | None = None, *, tag: int = _PCM_TAG, sample_bytes: int = 2) -> bytes:
    """44 bytes, mono; a stream's sizes are unknown and written as the largest, which players accept."""
    riff = _UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes
    data = _UNKNOWN_SIZE if data_bytes is None else data_bytes
    header = struct.pack(
        "<4sI4s4sIHHIIHH",
        b"RIFF",
        riff,
        b"WAVE",
        b"fmt ",
        16,
        tag,
        1,
        rate_hz,
        rate_hz * sample_bytes,
        sample_bytes,
        8 * sample_bytes,
    )
    return header + struct.pack("<4sI", b"data", data)


class Pcm16:
    def encode(self, pcm: bytes) -> bytes:
        return pcm

    def finish(self) -> bytes:
        return b""


class PcmFloat:
    """f32le, full scale at 1.0."""

    def encode(self, pcm: bytes) -> bytes:
        return bytes((np.frombuffer(pcm, "<i2").astype("<f4") / 32768).data)

    def finish(self) -> bytes:
        return b""


class Wav:
    """A header, then PCM."""

    def __init__(self, rate_hz: int) -> None:
        self._header = wav_header(rate_hz)

    def encode(self, pcm: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + pcm

    def finish(self) -> bytes:
        return self._header  # no audio at all is still a file


class MuLaw:
    def encode(self, pcm: bytes) -> bytes:
        return bytes(mu_law_table()[np.frombuffer(pcm, "<u2")].data)

    def finish(self) -> bytes:
        return b""


class ALaw:
    def encode(self, pcm: bytes) -> bytes:
        return bytes(a_law_table()[np.frombuffer(pcm, "<u2")].data)

    def finish(self) -> bytes:
        return b""


@cache
def mu_law_table() -> NDArray[np.uint8]:
    """[65536] codes by the bits of the sample. Sign, three bits of segment, four of step; all inverted."""
    samples = np.arange(65_536, dtype="<u2").view("<i2").astype(np.int64)
    magnitude = np.minimum(np.abs(samples), _MU_CLIP) + _MU_BIAS
    segment = np.frexp(magnitude)[1] - 8  # the bias puts the leading bit at 7 or above
    code = (samples < 0) << 7 | segment << 4 | (magnitude >> (segment + 3)) & 0xF
    inverted: NDArray[np.uint8] = (~code & 0xFF).astype(np.uint8)
    return inverted


@cache
def a_law_table() -> NDArray[np.uint8]:
    """[65536] codes by the bits of the sample: 13 bits of magnitude, even bits inverted; the sign bit is 1 for plus."""
    samples = np.arange(65_536, dtype="<u2").view("<i2").astype(np.int64) >> 3
    magnitude = np.where(samples < 0, ~samples, samples)
    segment = np.maximum(np.frexp(magnitude)[1] - 5, 0)
    code = segment << 4 | (magnitude >> np.maximum(segment, 1)) & 0xF
    inverted: NDArray[np.uint8] = (code ^ np.where(samples < 0, 0x55, 0xD5)).astype(np.uint8)
    return inverted
