"""All speech of a voice is seen alike in training, however it is cut into utterances."""

from __future__ import annotations

import numpy as np

from models.framing import HOP
from models.train_codec import AT_START, CROP_SAMPLES, Speech, held_out
from models.voice_plan import FIXTURE


def test_crops_of_the_codec() -> None:
    speech = Speech(FIXTURE, ["rms"], [1.0], 0)
    utterances = speech.voices[0][0]
    trained = utterances[: len(utterances) - len(held_out(utterances))]
    places = np.array([max(0, (one.samples - CROP_SAMPLES) // HOP + 1) for one in trained])
    drawn, at_start = np.zeros(len(trained)), 0
    for _ in range(20_000):
        index, first = speech.place(0)
        assert 0 <= first <= trained[index].samples - CROP_SAMPLES
        drawn[index] += 1
        at_start += first == 0
    expected = AT_START * (places > 0) / (places > 0).sum() + (1 - AT_START) * places / places.sum()
    assert np.abs(drawn / drawn.sum() - expected).max() < 0.02
    assert at_start / drawn.sum() > AT_START - 0.02
    assert speech.batch(3).samples.shape == (3, CROP_SAMPLES)
