"""Words that capital letters make another: Polish and to polish, Nice in France and nice, our IT team and it."""

from __future__ import annotations

from engines.text.context import Around
from engines.text.word_lists import word_list

_TOWNS = frozenset(word_list("nice reading mobile"))
_BEFORE_TOWNS = frozenset(word_list("in to from near at of around via outside"))
_BEHIND_VERBS = frozenset(word_list("the a an your my his her its our their this that these those it them up off"))
CAPITAL_WORDS = frozenset(["polish", *_TOWNS])


_BEFORE_TECHNOLOGY = frozenset(
    word_list("the our your my his her their its an in of for with from and or by contact call email ask tell to via")
)
_TECHNOLOGY = frozenset(
    word_list(
        "team teams department dept support staff desk helpdesk admin administrator manager director services "
        "professional professionals infrastructure policy security consultant specialist technician ticket budget"
    )
)
_BEFORE_AM_I = frozenset(word_list("why where how what who when and but so or"))


def read_capital_word(core: str, around: Around) -> list[str] | None:
    """Its spoken words; None where it is the word of small letters."""
    match core:
        case "IT":
            return ["i", "t"] if _is_technology(around) else None
        case "AM":
            return ["am"] if _is_verb(around) else None
        case "SE":
            return ["se"] if around.left.lower == "per" else None
        case _:
            named = _named(core, around)
            return None if named is None else [named]


def _is_technology(around: Around) -> bool:
    """Capitals beside it make it a shouted "it"."""
    following = around.following()
    if following.lower() in _TECHNOLOGY:
        return True
    if around.left.shouted or (len(following) > 1 and following.isupper()):
        return False
    return around.left.lower in _BEFORE_TECHNOLOGY or (around.left.starts_sentence and following.islower())


def _is_verb(around: Around) -> bool:
    """ "I AM SORRY", "AM I LATE" """
    left = around.left
    if left.core == "I":
        return True
    return (left.starts_sentence or left.lower in _BEFORE_AM_I) and around.following() == "I"


def _named(core: str, around: Around) -> str | None:
    low = core.lower()
    if low not in CAPITAL_WORDS or not core.istitle():
        return None
    if low in _TOWNS:
        return f"_{low}" if around.left.lower in _BEFORE_TOWNS else None
    opens = around.left.starts_sentence  # where every word has a capital
    return None if opens and around.following().lower() in _BEHIND_VERBS else "_polish"
