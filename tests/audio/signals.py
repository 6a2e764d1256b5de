"""Sound to encode and the ear to compare it with: a voiced glide, decoding with PyAV, a click detector."""

from __future__ import annotations

import io

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


def glide(rate_hz: int, seconds: float = 1.5) -> Samples:
    """Harmonics of a rising 110 Hz under a slow swell: like a voice, and different at every place."""
    t = np.arange(round(rate_hz * seconds)) / rate_hz
    turns = 110 * t * (1 + 0.1 * t)
    tones = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 12))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * t)
    return np.rint(6000 * tones * swell).astype("<i2")


def cut(pcm: bytes, chunk_samples: int) -> list[bytes]:
    return [pcm[start : start + 2 * chunk_samples] for start in range(0, len(pcm), 2 * chunk_samples)]


def decoded(data: bytes, container: str | None = None) -> tuple[NDArray[np.float64], int]:
    """Samples in 16-bit units, and their rate."""
    with av.open(io.BytesIO(data), format=container) as file:
        frames = [frame.to_ndarray() for frame in file.decode(audio=0)]
        rate_hz = file.streams.audio[0].rate
    whole = np.concatenate(frames, axis=1)[0]
    return (whole if whole.dtype == np.int16 else whole * 32768.0).astype(np.float64), rate_hz


def delay(heard: NDArray[np.float64], native: NDArray[np.float64], most: int = 3_000) -> int:
    """By how many samples `heard` comes later."""
    probe = native[: len(native) // 2]
    window = heard[: len(probe) + most]
    size = 2 ** int(np.ceil(np.log2(len(window) + len(probe))))  # long enough that nothing wraps around
    likeness = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(probe, size)), size)
    return int(np.argmax(likeness[: len(window) - len(probe) + 1]))


def clicks(heard: NDArray[np.float64], native: NDArray[np.float64], borders: list[int], rate_hz: int) -> list[int]:
    """The borders where `heard` differs from `native` far more than codecs differ elsewhere.

    A click is a step: what differs is weighed by its slope, which lossy codecs keep low, in 3 ms around a border.
    """
    count = min(len(heard), len(native))
    slope = np.abs(np.diff(heard[:count] - native[:count]))
    near = round(rate_hz * 0.0015)
    usual = float(np.quantile(slope, 0.999)) + 20.0
    return [border for border in borders if slope[max(0, border - near) : border + near].max(initial=0.0) > 4 * usual]
