"""Short forms with a full stop that stand for more than one word; the words on both sides say for which."""

from __future__ import annotations

import re

from engines.text.context import Around
from engines.text.word_lists import word_list

_YEAR = re.compile(r"\d{3,4}")
_PREPOSITIONS = frozenset(word_list("in from of near to"))
_QUANTIFIERS = frozenset(word_list("few several some many couple half of hundred thousand million"))
# Before a number or a letter that counts.
_BEFORE_NUMBERS = {
    "sec": "section",
    "pt": "part",
    "op": "opus",
    "art": "article",
    "rev": "revision",
    "para": "paragraph",
    "ser": "series",
    "pg": "page",
    "ln": "line",
    "ed": "edition",
}
_BEFORE_YEARS = {"b": "born", "d": "died", "c": "circa", "r": "reigned"}
SHORTS = frozenset([*_BEFORE_NUMBERS, *_BEFORE_YEARS, "ft", "min", "co", "est", "v", "cat", "exp"])


def expand(core: str, around: Around) -> str | None:
    """Its words; None where it is no abbreviation here, or another list has it. A number before it makes it a unit."""
    low, left = core.lower(), around.left
    if low not in SHORTS:
        return None
    following = around.following()
    named = following[:1].isupper() and len(following) > 1
    if low == "min":
        return "minutes" if left.number is not None or left.lower in _QUANTIFIERS else "minimum"
    if left.number is not None:
        return None
    if low == "exp":
        if following.lower() in ("date", "dates", "year"):
            return "expiration"
        return "expires" if re.fullmatch(r"(?:0?[1-9]|1[0-2])/\d{1,4}(?:/\d{2,4})?", following) else None
    if low in _BEFORE_NUMBERS and following[:1].isdecimal() and (core[0].isupper() or low != "ed"):
        return _BEFORE_NUMBERS[low]
    if low in _BEFORE_YEARS:
        return _BEFORE_YEARS[low] if core.islower() and _YEAR.fullmatch(following) else None
    match low:
        case "ft":
            return "fort" if core.istitle() and named else None
        case "rev":
            return None if named or core.istitle() else "revision"
        case "co":
            return (
                "county" if core.istitle() and named and (not left.capitalised or left.lower in _PREPOSITIONS) else None
            )
        case "est":
            return "estimated" if following.isalpha() and following.islower() else None
        case "cat":
            return "catalogue" if following.lower() in ("no", "nos", "number") else None
        case "v":
            return "versus" if core == "v" and left.capitalised and named else None
        case "ed":
            return "edition" if re.fullmatch(r"\d+(?:st|nd|rd|th)|revised|new|first|second|third", left.lower) else None
        case _:
            return None
