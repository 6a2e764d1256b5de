"""Roman numerals behind names and words that are numbered: "Chapter IV", "Elizabeth I", "GTA V", "Rocky II"."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import is_spelled
from engines.text.context import Around, Left
from engines.text.word_lists import word_list

_ROMAN = re.compile(r"(?=[ivxl])(xl|l?x{0,3})(ix|iv|v?i{0,3})")
_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50}
NUMBERED = frozenset(
    word_list(
        "episode season round scenario chapter part volume act section book phase type level title appendix figure "
        "table step article mark grade stage bowl tier class scene canto psalm lesson unit war "
        "parts chapters acts volumes books"
    )
)
LETTERED = frozenset(
    word_list(
        "an plan vitamin group option team point hepatitis model exhibit side category serie letter grade variant "
        "channel agent channels drive"
    )
)
_RULERS = frozenset(
    word_list(
        "henry louis charles george edward james william elizabeth mary richard john paul pius benedict leo "
        "napoleon philip alexander nicholas peter catherine frederick wilhelm francis ferdinand alfonso gregory "
        "innocent clement urban ramses ptolemy ivan carl gustav christian darius xerxes otto albert victor leopold "
        "haakon harald olav margrethe isabella selim mehmed suleiman franz joseph"
    )
)
_TITLES = frozenset(
    word_list("king queen pope emperor empress tsar czar kaiser sultan shah pharaoh prince princess saint duke rama")
)
# "Elizabeth I ..." goes on so where "I" is no pronoun; after the second set it may be one.
_BEHIND_RULERS = frozenset(word_list("of is who reigned ruled died became and or in from to by as succeeded style era"))
_BEHIND_FIRST_RULERS = frozenset(word_list("was had did has came went"))
_TENTH = frozenset(word_list("fantasy os iphone fast saw friday"))  # a single X is too often a letter
_JOINS = frozenset(["and", "or", "to", "&"])
_NOT_NUMERALS = frozenset(["xl", "xx", "li", "mi"])


def roman_value(word: str) -> int | None:
    low = word.lower()
    if not word.isupper() or not _ROMAN.fullmatch(low):
        return None
    values = [_VALUES[letter] for letter in low]
    return sum(-one if one < other else one for one, other in zip(values, [*values[1:], 0], strict=True))


def numeral_words(word: str, left: Left) -> list[str] | None:
    """By the word before alone: a numbered thing, a ruler, another name."""
    if word.endswith(("'s", "’s")):
        spoken = numeral_words(word[:-2], left)
        return None if spoken is None else [*spoken[:-1], spoken[-1] + "'s"]
    value = roman_value(word)
    if value is None or not left.capitalised or left.shouted:
        return None
    if left.lower in NUMBERED:
        return numbers.cardinal(value)
    if left.lower in _RULERS:
        return None if word == "I" else ["the", *numbers.ordinal(value)]
    return numbers.cardinal(value) if len(word) > 1 and word.lower() not in _NOT_NUMERALS else None


def is_numeral(word: str, left: Left) -> bool:
    """Whether a capital letter is a Roman number: "Part V"."""
    return numeral_words(word, left) is not None


def read_numeral(core: str, closing: str, around: Around) -> list[str] | None:
    """Those that the words on both sides decide: the pronoun I, letters, numbers behind acronyms and titles."""
    left = around.left
    if left.lower in _JOINS and len(around.recent) > 1 and core != "I" and roman_value(around.recent[-2]):
        value = roman_value(core)  # "Parts I and II"
        return None if value is None else numbers.cardinal(value)
    value = roman_value(core) if left.capitalised else None
    if value is None or left.lower in NUMBERED:
        return None
    titled = len(around.recent) > 1 and around.recent[-2].lower() in _TITLES
    if core == "I":
        first = (titled or left.lower in _RULERS) and (bool(closing) or titled or _is_behind_ruler(around))
        return ["the", "first"] if first else None
    if titled or left.lower in _RULERS:
        return ["the", *numbers.ordinal(value)]
    if core == "X":
        return ["ten"] if left.lower in _TENTH else None
    if left.shouted:
        acronym = len(left.core) < 5 and is_spelled(left.lower, among_capitals=False)
        return numbers.cardinal(value) if acronym and core.lower() not in _NOT_NUMERALS else None
    named = core == "V" and len(left.core) > 3 and left.lower not in LETTERED
    return ["five"] if named else None


def _is_behind_ruler(around: Around) -> bool:
    following = around.following().lower()
    return (
        not following or following in _BEHIND_RULERS or (following in _BEHIND_FIRST_RULERS and len(around.recent) == 1)
    )
