"""A vocoder that sees the text: what it is shown is heard, and a draft brings it too. The laws hold for it as for the
others (`test_laws`, `test_streams`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import pure
from engines.runtime import kernels
from engines.runtime.base import IntArray
from engines.sequence import Sequence
from engines.synth import speak
from engines.text import FrontEnd
from models.cpu_networks import spectrum_model
from tests.engine.driving import TEXT


def test_what_a_vocoder_sees_is_heard_and_streams(seeing: Bundle) -> None:
    vocoder, samples = spectrum_model(seeing), seeing.samples_per_code
    assert vocoder.kernels.startswith("ours") or not any(map(kernels.runs, kernels.FORMS)), vocoder.kernels
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 900, (3, 24, seeing.frame_width))
    excitation = np.stack([noise(row, 0, seeing.look_back + 24 * samples) for row in range(3)])
    how = np.repeat(pure(2, 1), 3, 0), np.ones(3, np.float32)
    whole, _ = vocoder.run(frames, *how, excitation, vocoder.initial_state(3))
    for size in (1, 2, 5):
        state, parts = vocoder.initial_state(1), []
        for start in range(0, 24, size):
            drawn = excitation[1:2, start * samples : seeing.look_back + min(start + size, 24) * samples]
            part, state = vocoder.run(frames[1:2, start : start + size], *(one[:1] for one in how), drawn, state)
            parts.append(part)
        assert np.array_equal(np.concatenate(parts, axis=1), whole[1:2]), size
    blind = frames.copy()
    blind[..., 1:] = 0
    assert not np.allclose(vocoder.run(blind, *how, excitation, vocoder.initial_state(3))[0], whole)


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_draft_that_stands_brings_what_the_vocoder_sees(
    seeing: Bundle, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    """Its own drafter, with a network that knows the codes: frames are committed as they were drafted."""
    frames, commit = list[np.ndarray](), Sequence.commit

    def recorded(sequence: Sequence, frame: np.ndarray, *made: Any) -> bool:
        frames.append(frame.copy())
        return commit(sequence, frame, *made)

    def engine_with(mode: DraftMode) -> Engine:
        return load_engine(seeing, EngineConfig(slots=2, workers=False, drafts=mode), front_end=front_end)

    monkeypatch.setattr(Sequence, "commit", recorded)
    plain = engine_with(DraftMode.OFF)
    expected = speak(plain, TEXT, seed=3, temperature=temperature)
    plain.close()
    known = np.array(frames)
    assert len(np.unique(known[:, 1:], axis=0)) > len(known) / 2, "each step sees its own place"
    frames.clear()
    drafting = engine_with(DraftMode.ON)
    network = drafting.model.drafter._network  # type: ignore[union-attr]

    def foreseen(*asked: Any) -> IntArray:
        codes = np.zeros(network.length, np.int64)
        ahead = known[len(frames) : len(frames) + network.length, 0]
        codes[: len(ahead)] = ahead
        return codes

    monkeypatch.setattr(network, "propose", foreseen)
    assert speak(drafting, TEXT, seed=3, temperature=temperature).pcm == expected.pcm
    assert np.array_equal(np.array(frames), known)
    counters = drafting.stats().counters
    assert counters["drafts_accepted"] > 0.5 * counters["drafts_proposed"] > 25
    drafting.close()
