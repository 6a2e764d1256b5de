"""Whether a draft's guess may stand for the speech model's own pick.

A code of a finite scalar quantiser is a number in mixed radix: a digit of each dimension, the least significant first,
and digits one apart are neighbours in sound. Exactly (tolerance 0) only the pick itself stands.
"""

from __future__ import annotations

import math


def stands(levels: tuple[int, ...], guess: int, picked: int, tolerance: int) -> bool:
    """Every digit of `guess` within `tolerance` of the same digit of `picked`.

    Levels are a line, not a ring: the first and the last are far apart. What is no code, as that which opens a segment,
    is near nothing but itself.
    """
    if guess == picked:
        return True
    if tolerance == 0 or not 0 <= min(guess, picked) <= max(guess, picked) < math.prod(levels):
        return False
    for count in levels:
        guess, guessed = divmod(guess, count)
        picked, digit = divmod(picked, count)
        if abs(guessed - digit) > tolerance:
            return False
    return True
