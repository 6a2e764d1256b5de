"""Words that a capital letter makes another: Polish and to polish, Nice in France and nice."""

from __future__ import annotations

from engines.text.context import Around
from engines.text.word_lists import word_list

_TOWNS = frozenset(word_list("nice reading mobile"))
_BEFORE_TOWNS = frozenset(word_list("in to from near at of around via outside"))
_BEHIND_VERBS = frozenset(word_list("the a an your my his her its our their this that these those it them up off"))
CAPITAL_WORDS = frozenset(["polish", *_TOWNS])


def read_capital_word(core: str, around: Around) -> str | None:
    """Its name in the lexicon; None where it is the word of small letters."""
    low = core.lower()
    if low not in CAPITAL_WORDS or not core.istitle():
        return None
    if low in _TOWNS:
        return f"_{low}" if around.left.lower in _BEFORE_TOWNS else None
    opens = around.left.starts_sentence  # where every word has a capital
    return None if opens and around.following().lower() in _BEHIND_VERBS else "_polish"
