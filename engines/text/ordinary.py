"""Most words of a text: small letters or a capital before them, no second reading, at most one mark behind.

They are told by their letters and the token before alone, so nothing else needs to look at them.
"""

from __future__ import annotations

import re
from functools import lru_cache

from engines.text.abbreviations import (
    ALWAYS,
    DAY_SHORT,
    FINAL,
    INNER,
    MONTH_SHORT,
    MONTHS,
    NUMBERED_SHORT,
    PLACES,
    TITLES,
    WHOLE,
)
from engines.text.acronyms import is_spelled_small
from engines.text.by_neighbours import SHORTS
from engines.text.capital_words import CAPITAL_WORDS
from engines.text.context import Left
from engines.text.currencies import SIGNS
from engines.text.phones import PauseType
from engines.text.pieces import Reading
from engines.text.streets import HOUSE_PARTS
from engines.text.words import SHORT_KEYS

_ORDINARY = re.compile(r"([A-Za-z][a-z]+(?:'[a-z]+)?)([.,;:!?]?)")
_KINDS = {
    "": None,
    ".": PauseType.PERIOD,
    "?": PauseType.QUESTION,
    "!": PauseType.EXCLAIM,
    **dict.fromkeys(",;:", PauseType.PLAIN),
}
_OTHERWISE = frozenset().union(
    *(WHOLE, MONTH_SHORT, DAY_SHORT, MONTHS, DAY_SHORT.values(), TITLES, INNER, FINAL, NUMBERED_SHORT, ALWAYS),
    *(SHORTS, PLACES, HOUSE_PARTS, CAPITAL_WORDS),
    (name.lower() for name in (*SHORT_KEYS, *SIGNS)),
)
_NEW_SENTENCE = Left()


def read_ordinary(text: str, left: Left) -> Reading | None:
    """None for a token that needs a closer look."""
    match = _ORDINARY.fullmatch(text)
    if match is None or left.number is not None:
        return None
    word, mark = match.groups()
    if not _is_ordinary(word.lower()):
        return None
    kind = _KINDS[mark]
    goes_on = kind is None or kind is PauseType.PLAIN
    return Reading(
        pieces=[word.lower()] if kind is None else [word.lower(), kind],
        taken=0,
        left=Left(core=word, starts_sentence=False, paused=kind is not None) if goes_on else _NEW_SENTENCE,
    )


@lru_cache(maxsize=8192)
def _is_ordinary(low: str) -> bool:
    return low not in _OTHERWISE and not is_spelled_small(low)
