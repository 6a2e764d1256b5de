"""Units that the words around them decide: degrees without their sign ("preheat to 350F"), basis points."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.context import Around
from engines.text.units import Names
from engines.text.word_lists import word_list

_NUMBER = re.compile(r"[-+]?\d{2,3}(?:\.\d)?|[-+]\d(?:\.\d)?|\d\.\d")
_CUES = frozenset(
    word_list(
        "preheat preheated heat heated heating bake baked baking roast roasted oven temp temps temperature "
        "temperatures grill grilled broil smoke smoked fever forecast thermostat highs lows boil boils boiling freeze "
        "freezes freezing cool cooled cools warm warmed warms weather thermometer cook cooked fry simmer feels"
    )
)
_AT = frozenset(
    word_list(
        "to at of is was around about near reach reaches reached hit hits hitting below above over under between until "
        "from by like temp temps temperature oven and highs lows"
    )
)
_EXTREMES = re.compile(r"(?:^| )(?:highs?|lows?|temperature|temp)(?: today| tonight)?(?: of| around| near)?$")
_OUTSIDE = frozenset(word_list("outside outdoors today tonight tomorrow degrees"))
_THERE = frozenset(word_list("it's its it is was be at about around"))
_DEGREES = {"C": ("degree celsius", "degrees celsius"), "F": ("degree fahrenheit", "degrees fahrenheit")}
_GLUED = re.compile(r"([-+]?\d{1,4}(?:\.\d)?)(F|C|bps)")
_POINTS = re.compile(r"\d{1,3}(?:\.5)?")
_RATES = frozenset(
    word_list(
        "rate rates rose rise rises risen fell fall falls fallen cut cuts cutting hike hikes hiked raise raised raises "
        "basis yield yields spread spreads fed ecb lowered widened tightened narrowed margin margins lifted trimmed "
        "mortgage treasury inflation coupon"
    )
)
_CHANGES = frozenset(word_list("hike cut rise increase reduction decrease move spread rate fee drop premium"))
_PART = re.compile(r"(\d{1,2})/(\d{1,2})|[½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚]")


def unit_by_words(symbol: str, number: str, before: tuple[str, ...], around: Around) -> Names | None:
    """`before`: the tokens before the number."""
    if symbol == "bps":
        return ("basis point", "basis points") if _is_of_rates(number, before, around) else None
    if symbol not in _DEGREES or not _is_temperature(number, before, around):
        return None
    return _DEGREES[symbol]


def glued_by_words(core: str, around: Around) -> list[str] | None:
    """ "350F", "25bps" """
    match = _GLUED.fullmatch(core)
    names = unit_by_words(match[2], match[1], around.recent, around) if match else None
    if match is None or names is None:
        return None
    sign = ["minus"] if match[1][0] == "-" else ["plus"] if match[1][0] == "+" else []
    digits = match[1].lstrip("+-")
    return [*sign, *numbers.decimal(digits), *names[digits != "1"].split()]


def is_part_of_one(number: str, before: tuple[str, ...]) -> bool:
    """A fraction below one, with no whole number before it: "1/4 tsp", "½ lb", but "1 1/2 cups"."""
    match = _PART.fullmatch(number)
    if match is None or (match[1] and int(match[1]) >= int(match[2])):
        return False
    return not before or not before[-1].isdecimal()


def _is_of_rates(number: str, before: tuple[str, ...], around: Around) -> bool:
    if not _POINTS.fullmatch(number):
        return False
    return any(word.lower() in _RATES for word in before) or around.following().lower() in _CHANGES


def _is_temperature(number: str, before: tuple[str, ...], around: Around) -> bool:
    if number[0] == "-":
        return True
    if not before or not _NUMBER.fullmatch(number):
        return False
    last = before[-1].lower()
    if last in _AT and any(word.lower() in _CUES for word in before):
        return True
    if _EXTREMES.search(" ".join(before).lower()):
        return True
    return last in _THERE and around.following().lower() in _OUTSIDE
