"""The live word times against a forced alignment of the same audio; `models.judge.word_times` does it at length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.families.phone_pointer.bundle import load_bundle
from engines.text import FrontEnd
from models.judge.aligner import Aligner
from models.judge.teacher import word_spans
from models.judge.word_times import (
    MEDIAN_BAR_MS,
    P95_BAR_MS,
    errors_ms,
    figures,
    of_engine,
    read_sentence,
    sentences,
    spans_of_tokens,
)


@pytest.mark.parametrize("voice", ["rms", "slt"])
def test_live_times_agree_with_the_alignment(voice: str) -> None:
    aligner = Aligner()
    engine = load_engine(load_bundle(Path("flite")), EngineConfig(workers=False))
    row = of_engine(engine, aligner, voice, sentences(aligner, ["everyday", "figures"], limit=3))
    engine.close()
    assert row["not_aligned"] == 0
    assert row["words"] > 30
    assert row["both_median_ms"] <= MEDIAN_BAR_MS
    assert row["both_p95_ms"] <= P95_BAR_MS


def test_wrong_times_would_be_seen() -> None:
    late = errors_ms([(0.2, 0.4), (0.4, 0.6)], [(0.1, 0.3), (0.3, 0.5)])
    row = figures([late])
    assert row["both_median_ms"] == row["start_offset_ms"] == pytest.approx(100)
    assert np.allclose(late, 100)


def test_words_of_one_token_are_one_span() -> None:
    one = read_sentence(FrontEnd.load(), "It costs $12.50 today.")
    assert one is not None
    assert (one.words, one.counts) == ("it costs twelve dollars and fifty cents today".split(), [1, 1, 5, 1])
    spans = [(float(start), start + 1.0) for start in range(8)]
    assert spans_of_tokens(spans, one.counts) == [(0, 1), (1, 2), (2, 7), (7, 8)]


def test_a_clitic_belongs_to_its_word() -> None:
    its = [["pau", 0.1, 0, -1, 0], ["ih", 0.2, 1, 0, 1], ["t", 0.3, 0, 0, 0], ["s", 0.4, 0, 1, 0]]
    record = {
        "segments": [*its, ["pau", 0.5, 0, -1, 0], ["ow", 0.7, 1, 2, 1], ["pau", 0.9, 0, -1, 0]],
        "words": [["it", "It's", ""], ["'s", "It's", ","], ["oh", "oh", ""]],
    }
    assert word_spans(record) == [(0.1, 0.4), (0.5, 0.7)]
