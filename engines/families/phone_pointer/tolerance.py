"""Whether a draft may stand for the speech model's own sample.

A code of a finite scalar quantiser is a number in mixed radix: a digit of each dimension, the least significant first,
and digits one apart are neighbours in sound. Exactly (tolerance 0) only the sample itself stands.
"""

from __future__ import annotations

import math


def stands(levels: tuple[int, ...], draft: int, sampled: int, tolerance: int) -> bool:
    """Every digit of `draft` within `tolerance` of the same digit of `sampled`.

    Levels are a line, not a ring: the first and the last are far apart. What is no code, as that which opens a segment,
    is near nothing but itself.
    """
    if draft == sampled:
        return True
    if tolerance == 0 or not 0 <= min(draft, sampled) <= max(draft, sampled) < math.prod(levels):
        return False
    for count in levels:
        draft, guessed = divmod(draft, count)
        sampled, digit = divmod(sampled, count)
        if abs(guessed - digit) > tolerance:
            return False
    return True
