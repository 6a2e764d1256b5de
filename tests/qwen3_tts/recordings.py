"""Recordings to clone from, and files of them."""

from __future__ import annotations

import io
import wave
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def tone(seconds: float, level: float = 0.3, rate_hz: int = 24_000) -> NDArray[np.float32]:
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * 180 * times) * (1 + 0.3 * np.sin(9 * times))).astype(np.float32)


def wav(samples: NDArray[Any], rate_hz: int = 24_000) -> bytes:
    """`samples` [S], or [S, channels]"""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def encoded(samples: NDArray[Any], form: str, codec: str, rate_hz: int = 24_000) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        stream = out.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, 960)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            out.mux(stream.encode(piece))
    return file.getvalue()
