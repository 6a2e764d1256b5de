"""With two threads a large batch of the LM runs as two halves at once; no row may notice."""

from __future__ import annotations

import numpy as np

from engines.assemble import speech_model
from engines.families.common.slot_calls import _HALVES_FROM
from engines.families.phone_pointer.bundle import Bundle

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
