"""Street addresses as Americans write them: "1600 Pennsylvania Ave NW", "45 W 34th St", "Apt 4B"."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.abbreviations import DAY_SHORT, MONTH_SHORT, MONTHS, PLACES
from engines.text.context import Around, Spoken
from engines.text.word_lists import word_list

_FULL = frozenset(PLACES.values())
_SURE = frozenset(word_list("ave blvd rd pkwy hwy expy fwy tpke"))  # without a house number before them
_DIRECTIONS = {
    "n": "north",
    "s": "south",
    "e": "east",
    "w": "west",
    "ne": "northeast",
    "nw": "northwest",
    "se": "southeast",
    "sw": "southwest",
}
HOUSE_PARTS = {
    "apt": "apartment",
    "ste": "suite",
    "rm": "room",
    "bldg": "building",
    "fl": "floor",
    "rte": "route",
    "rt": "route",
    "hwy": "highway",
}
_ORDINAL = re.compile(r"\d{1,3}(?:st|nd|rd|th)")
_NUMBERED_ROAD = re.compile(r"(?:I|US|SR)-\d{1,3}")  # I-95 N
_NUMBERED_ROADS = frozenset(word_list("highway hwy route rte interstate"))
_BEFORE_YEARS = frozenset([*MONTHS, *MONTH_SHORT, *word_list("in since during until")])
_DATES = frozenset([*MONTHS, *MONTH_SHORT, *DAY_SHORT, *DAY_SHORT.values()])
_HOUSE_BEFORE = re.compile(r"\d{2,5}[A-Z]?")
_HOUSE = re.compile(r"[1-9]\d{3}")
_MAX_NAME_TOKENS = 3  # between a house number and the kind of street


def read_street(core: str, around: Around) -> Spoken | None:
    """A kind of street, a direction or a part of a house. None for anything else."""
    low = core.replace(".", "").lower()
    if low in _DIRECTIONS and core.isupper():
        return Spoken(words=[_DIRECTIONS[low]]) if _is_direction(low, around) else None
    if not core.istitle():
        return None
    if low in HOUSE_PARTS and around.following()[:1].isdecimal():
        return Spoken(words=[HOUSE_PARTS[low]])
    if low not in PLACES or not (is_street_name(around.left.core) or _numbered_before(around)):
        return None
    if low in ("st", "dr"):
        return Spoken(words=[PLACES[low]]) if _ORDINAL.fullmatch(around.left.core) else None
    return Spoken(words=[PLACES[low]]) if low in _SURE or _numbered_before(around) else None


def is_drive(closing: str, around: Around) -> bool:
    """ "2301 Oak Dr, Chicago", "2301 Oak Dr Chicago": no doctor stands behind a house number and a name."""
    recent = around.recent
    if not around.left.capitalised or around.left.paused:
        return False
    if closing.lstrip(".").startswith(",") and len(recent) > 1:  # else "Dear Dr, ..."
        return True
    if closing not in ("", "."):
        return False
    names = next((count for count in range(1, len(recent)) if _HOUSE_BEFORE.fullmatch(recent[-1 - count])), 0)
    if not 0 < names <= _MAX_NAME_TOKENS or not all(map(_names_street, recent[-names:])):
        return False
    return recent[-names - 2 : -names - 1] == () or recent[-names - 2].lower() not in _BEFORE_YEARS


def _names_street(word: str) -> bool:
    """ "12 May Dr. Lee" and "at 10 AM Dr. Lee" are no streets."""
    return word.istitle() and word.lower() not in _DATES


def is_leading_direction(core: str, around: Around) -> bool:
    """ "500 E. Main St." """
    return core.replace(".", "").lower() in _DIRECTIONS and core.isupper() and _leads_to_street(around)


def is_street_name(core: str) -> bool:
    return core[:1].isupper() or _ORDINAL.fullmatch(core) is not None


def read_house_number(core: str, around: Around) -> Spoken | None:
    """ "1204 Elm St" is twelve oh four."""
    if not _HOUSE.fullmatch(core) or not _leads_to_street(around):
        return None
    value = int(core)
    return Spoken(words=numbers.year(value) if value % 1000 else numbers.cardinal(value))


def _numbered_before(around: Around) -> bool:
    """Whether a house number opened the address."""
    return is_street_name(around.left.core) and any(one.isdecimal() for one in around.recent[:-1])


def _is_direction(low: str, around: Around) -> bool:
    left = around.left
    if left.lower == "per":  # per se
        return False
    if left.capitalised and (left.lower in PLACES or left.lower in _FULL):
        return True
    numbered = len(around.recent) > 1 and around.recent[-2].lower() in _NUMBERED_ROADS and left.core.isdecimal()
    if numbered or _NUMBERED_ROAD.fullmatch(left.core):
        return True
    if (len(low) > 1 or (left.number or "").isdecimal()) and (
        _leads_to_street(around) or around.following() == "Broadway"
    ):
        return True
    return _ORDINAL.fullmatch(around.following()) is not None and _leads_to_street(around)


def _leads_to_street(around: Around) -> bool:
    """Whether names and then a kind of street follow."""
    for count in range(1, _MAX_NAME_TOKENS + 2):
        following = around.following(count)
        if count > 1 and (following.lower() in PLACES or following.lower() in _FULL) and following.istitle():
            return True
        if not is_street_name(following) or not around.goes_on(count):
            return False
    return False
