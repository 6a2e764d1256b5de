"""Meters of whole folders: spread, correlation and likeness do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ctranslate2", reason="the second recogniser is not installed: pip install '.[eval]'")

from models.judge.meters import Heard, SpeakerEncoder, compare, correlation, log_f0, spread
from models.packages import cache_folder


def buzz(f0_hz: np.ndarray) -> np.ndarray:
    """f0_hz [S] at 16 kHz -> a harmonic sound [S]"""
    phase = 2 * np.pi * np.cumsum(f0_hz) / 16_000
    return (3000 * sum(np.sin(k * phase) / k for k in range(1, 12))).astype(np.int16)


def test_pitch_is_found_and_its_spread() -> None:
    moving = 150 * 2 ** (np.sin(np.arange(32_000) / 3000) / 4)  # +-3 semitones
    pitch = log_f0(buzz(moving))
    assert np.exp(np.median(pitch)) == pytest.approx(150, rel=0.05)
    assert spread([pitch]) == pytest.approx(3 / np.sqrt(2), rel=0.15)
    assert spread([log_f0(buzz(np.full(32_000, 150.0)))]) < 0.3, "monotony shows"


def test_correlation_forgets_tempo_and_not_direction() -> None:
    rising = np.linspace(4.6, 5.2, 100)
    assert correlation([rising], [np.linspace(4.6, 5.2, 150)]) == pytest.approx(1, abs=1e-6)
    assert correlation([rising], [rising[::-1]]) == pytest.approx(-1, abs=1e-6)


def test_likeness_is_relative_to_the_teachers_own() -> None:
    rng = np.random.default_rng(0)
    centre, stranger = rng.standard_normal((2, 256))

    def heard(middle: np.ndarray) -> Heard:
        rows = middle + 0.4 * rng.standard_normal((6, 256))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return Heard(figures={"f0_spread_semitones": 2.0}, embeddings=rows, pitch=[np.linspace(4, 5, 50)] * 6)

    teacher = heard(centre)
    assert compare(heard(centre), teacher)["ours"]["likeness"] == pytest.approx(1, abs=0.05)
    assert compare(heard(stranger), teacher)["ours"]["likeness"] < 0.3
    assert compare(heard(centre), teacher)["ours"]["f0_spread_ratio"] == 1.0


@pytest.mark.skipif(
    not list((cache_folder() / "packages").glob("Resemblyzer-*.whl")),
    reason="the speaker encoder is not in the cache; `models.judge.meters` puts it there",
)
def test_the_encoder_tells_voices_apart() -> None:
    from pathlib import Path

    from models.teacher.prepare import load

    encoder, found = SpeakerEncoder.load(), {}
    for voice in ("rms", "slt"):
        utterances, pcm, _ = load(Path(__file__).parent / "fixture", voice)
        found[voice] = [encoder.embed(np.array(pcm[one.offset : one.offset + one.samples])) for one in utterances[:4]]
    same = np.mean([found[voice][0] @ found[voice][k] for voice in found for k in (1, 2, 3)])
    other = np.mean([one @ two for one in found["rms"] for two in found["slt"]])
    assert same > other + 0.1
