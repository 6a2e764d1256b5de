"""The time stretch and the resampler: chunk-invariant, of exact length, at the same pitch."""

from __future__ import annotations

import numpy as np
import pytest

from server.audio import OFFERED_HZ, Resampler, spoken_rate_hz
from server.audio.stretch import TimeStretch, split_speed
from tests.audio.signals import cut, glide

CHUNKS = (1, 7, 331, 960, 7_680)


def stretched(pcm: bytes, rate_hz: int, tempo: float, chunk_samples: int) -> bytes:
    stretch = TimeStretch(rate_hz, tempo)
    return b"".join([*(stretch.feed(part) for part in cut(pcm, chunk_samples)), stretch.feed(b"", last=True)])


@pytest.mark.parametrize("chunk_samples", CHUNKS)
@pytest.mark.parametrize("tempo", [1 / 3, 0.7, 1.0, 1.5, 3.01])
def test_streamed_equals_whole(tempo: float, chunk_samples: int) -> None:
    pcm = glide(16_000, 0.4).tobytes()
    assert stretched(pcm, 16_000, tempo, chunk_samples) == stretched(pcm, 16_000, tempo, len(pcm))


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.02, 1.0])
@pytest.mark.parametrize("rate_hz", OFFERED_HZ)
@pytest.mark.parametrize("tempo", [1 / 3, 3.01])
def test_length_is_exact(tempo: float, rate_hz: int, seconds: float) -> None:
    pcm = glide(rate_hz, seconds).tobytes()
    assert len(stretched(pcm, rate_hz, tempo, 960)) // 2 == round(len(pcm) // 2 / tempo)


@pytest.mark.parametrize("tempo", [1 / 3, 0.6, 1.8, 3.0])
def test_pitch_stays_and_nothing_clicks(tempo: float) -> None:
    rate_hz, pitch_hz = 24_000, 130.0
    turns = pitch_hz * np.arange(2 * rate_hz) / rate_hz
    voice = sum(np.sin(2 * np.pi * k * turns + k) / k for k in range(1, 10))
    pcm = np.rint(7_000 * voice).astype("<i2")
    out = np.frombuffer(stretched(pcm.tobytes(), rate_hz, tempo, 960), "<i2").astype(np.float64)
    middle = out[len(out) // 4 : len(out) * 3 // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 8 * rate_hz))
    assert np.argmax(spectrum) / 8 == pytest.approx(pitch_hz, rel=0.01)
    assert np.abs(np.diff(middle)).max() < 1.1 * np.abs(np.diff(pcm.astype(np.float64))).max()
    assert middle.std() == pytest.approx(pcm.std(), rel=0.03)


def test_the_stretch_keeps_little() -> None:
    stretch = TimeStretch(24_000, 3.0)
    for part in cut(glide(24_000, 3.0).tobytes(), 960):
        stretch.feed(part)
        assert len(stretch._input) < 24_000 // 10


@pytest.mark.parametrize(
    ("speed", "model", "tempo"), [(0.25, 0.75, 1 / 3), (0.9, 0.9, 1.0), (1.33, 1.33, 1.0), (4.0, 1.33, 4 / 1.33)]
)
def test_the_model_does_what_it_can(speed: float, model: float, tempo: float) -> None:
    assert split_speed(speed, (0.75, 1.33)) == pytest.approx((model, tempo))


@pytest.mark.parametrize("rate_hz", OFFERED_HZ)
def test_resampled_in_pieces_equals_whole(rate_hz: int) -> None:
    """soxr's own 16-bit output is dithered, by a noise that depends on the cuts."""
    pcm = glide(spoken_rate_hz(rate_hz), 0.5).tobytes()

    def resampled(chunk_samples: int) -> bytes:
        resampler = Resampler(rate_hz)
        return b"".join([*(resampler.feed(part) for part in cut(pcm, chunk_samples)), resampler.feed(b"", last=True)])

    whole = resampled(len(pcm))
    assert len(whole) // 2 == len(pcm) // 2 * rate_hz // spoken_rate_hz(rate_hz)
    assert all(resampled(chunk_samples) == whole for chunk_samples in (13, 960, 7_680))
