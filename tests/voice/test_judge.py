"""The judge compares speech in equal silence."""

from __future__ import annotations

import numpy as np

from models.judge.meters import even_ends


def test_even_ends_forget_how_much_silence_there_was() -> None:
    rng = np.random.default_rng(0)
    speech = (rng.standard_normal(8000) * 3000).astype(np.int16)
    speech[0] = speech[-1] = 3000
    murmur = [rng.integers(-200, 200, size).astype(np.int16) for size in (500, 5000)]
    short = even_ends(np.concatenate([murmur[0], speech, murmur[0]]))
    long = even_ends(np.concatenate([murmur[1], speech, murmur[1]]))
    assert len(short) == len(long)
    assert not short[:1600].any()
    assert not short[-4800:].any()
    assert np.array_equal(short[1600 + 480 : 1600 + 480 + 8000], speech)
    assert len(even_ends(np.zeros(100, np.int16))) == 100 + 6400, "silence stays silence"
