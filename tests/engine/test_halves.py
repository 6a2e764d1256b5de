"""With two threads a large batch of the LM runs as two halves at once; no row may notice."""

from __future__ import annotations

from collections import Counter

import numpy as np

from engines.families.common.slot_calls import _HALVES_FROM
from engines.families.phone_pointer.bundle import Bundle
from models.cpu_networks import spectrum_model, speech_model

ROWS = _HALVES_FROM + 1  # halves of different size


def test_halves_have_the_bits_of_the_whole(bundle: Bundle) -> None:
    rng = np.random.default_rng(4)
    whole, halves = speech_model(bundle, ROWS, threads=1), speech_model(bundle, ROWS, threads=2)
    past = np.zeros(ROWS, np.int64)
    for rows in [ROWS] * 6 + [3, ROWS, _HALVES_FROM]:  # a small batch in between goes the other way
        code = rng.integers(0, bundle.codes.count, ROWS)
        logits = []
        for lm in (whole, halves):
            lm.features[:, 0], lm.past[:] = code, past
            logits.append(lm.step(0, rows).copy())
        assert logits[0].any()
        assert np.array_equal(*logits)
        past[:rows] += rng.integers(1, 3, rows) > 1  # rows of different length
    assert len(set(past)) > 1


def test_two_threads_load_twice_only_what_is_halved(bundle: Bundle, loaded: Counter[str]) -> None:
    assert bundle.drafts is not None
    lm = speech_model(bundle, ROWS, threads=2)
    spectrum_model(bundle, threads=2)
    wanted = {bundle.lm.file: 2, bundle.drafts.verify: 1, bundle.vocoder.file: 1}
    assert loaded == wanted
    for rows in (1, _HALVES_FROM, ROWS):
        lm.step(0, rows)
    assert loaded == wanted, "a step loads nothing"
