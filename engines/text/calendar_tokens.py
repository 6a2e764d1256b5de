"""Dates and times of day as written: 2026-11-21, 11/21/2026, 3:45pm, 15:30, 1990s."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.abbreviations import DAY_SHORT, MONTH_SHORT, MONTHS
from engines.text.context import Around, Left, Spoken

_TIME = re.compile(
    r"([01]?\d|2[0-4])[:h]([0-5]\d)(?::([0-5]\d)(\.\d+)?)?(z|am|pm|a\.m|p\.m|[-+]\d\d(?::?\d\d)?)?", re.IGNORECASE
)
_HOUR = re.compile(r"(1[0-2]|0?[1-9])(am|pm|a\.m|p\.m)", re.IGNORECASE)
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_US_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})")
_MONTH_DAY = re.compile(r"(\d{1,2})/(\d{1,2})")
_DECADE = re.compile(r"'?(\d{3}0|\d0)'?s")
_DAY_OR_YEAR = re.compile(r"(?:[12]\d{3}|[12]?\d|3[01])(?:st|nd|rd|th)?(?:$|[-–])")
_PLAIN_FRACTIONS = frozenset({2, 3, 4, 5, 6, 8, 10, 12, 16})
_HALVES = {"a": ["_a", "m"], "p": ["p", "m"], "z": ["u", "t", "c"]}


def read_calendar(core: str, around: Around) -> Spoken | None:
    date, mark, time = core.partition("T")
    if mark and _ISO_DATE.fullmatch(date):
        day, clock = _date(date), _time(time, around, dated=True)
        return None if day is None or clock is None else Spoken(words=day + clock)
    words = _date(core) or _time(core, around) or decade_words(core)
    return None if words is None else Spoken(words=words)


def month_name(core: str, around: Around) -> str | None:
    """ "Nov" or "Nov." next to a day or a year; a month in full needs no reading."""
    name = MONTH_SHORT.get(core.lower())
    if name is None or not core[0].isupper():
        return None
    dated = _DAY_OR_YEAR.match(around.left.number or "") or _DAY_OR_YEAR.match(around.following())
    return name if dated else None


def day_name(core: str, *, stopped: bool) -> str | None:
    """ "Mon." and "Tue", but not the sun."""
    sure = stopped or core in ("Tue", "Tues", "Thu", "Thur", "Thurs", "Fri")
    return DAY_SHORT.get(core.lower()) if sure and core.istitle() else None


def is_day_of_month(value: int, around: Around) -> bool:
    """Whether a bare number is a day: next to the name of a month."""
    if not 1 <= value <= 31:
        return False
    before = around.left.lower.rstrip(".")
    if before in MONTHS and (before != "may" or around.left.capitalised):
        return True
    if before in MONTH_SHORT and around.left.capitalised:
        return True
    after = around.following()
    return after[:1].isupper() and (after.lower() in MONTHS or after.lower().rstrip(".") in MONTH_SHORT)


def clock_words(core: str) -> list[str] | None:
    """A time of day that is one by itself: 9am, 17:00, 5:30pm."""
    return _time(core, Around(left=Left(), peek=lambda _: None)) if core[:1].isdecimal() else None


def _date(core: str) -> list[str] | None:
    match = _ISO_DATE.fullmatch(core)
    if match:
        return _spoken_date(int(match[1]), int(match[2]), int(match[3]))
    match = _US_DATE.fullmatch(core)
    if match:
        short = int(match[3])
        year = short if short > 99 else 2000 + short if short < 50 else 1900 + short
        first, second = int(match[1]), int(match[2])
        return _spoken_date(year, first, second) or _spoken_date(year, second, first)
    match = _MONTH_DAY.fullmatch(core)
    if match and int(match[2]) not in _PLAIN_FRACTIONS and int(match[1]) < int(match[2]):
        return _spoken_date(None, int(match[1]), int(match[2]))
    return None


def _spoken_date(year: int | None, month: int, day: int) -> list[str] | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return [MONTHS[month - 1], *numbers.ordinal(day), *(numbers.year(year) if year is not None else [])]


def _time(core: str, around: Around, *, dated: bool = False) -> list[str] | None:
    match = _HOUR.fullmatch(core)
    if match:
        return [*numbers.cardinal(int(match[1])), *_HALVES[match[2][0].lower()]]
    match = _TIME.fullmatch(core)
    if not match or ((match[5] or "").startswith("-") and not (match[3] or dated)):  # 9:00-17:00 has no zone
        return None
    hour, minute = int(match[1]), int(match[2])
    words = numbers.cardinal(hour)
    if minute:
        words = words + (["oh"] if minute < 10 else []) + numbers.cardinal(minute)
    elif not match[5] and not match[3]:
        words = words + _full_hour(hour, around)
    elif match[5] and match[5][0] in "+-zZ":
        words = [*words, "hundred"]
    if match[3] and int(match[3] + (match[4] or "").replace(".", "")):
        spoken = numbers.decimal(str(int(match[3])) + (match[4] or "").rstrip("0").rstrip("."))
        words = [*words, "and", *spoken, "second" if spoken == ["one"] else "seconds"]
    return words + (_zone(match[5]) if match[5] else [])


def _zone(zone: str) -> list[str]:
    """Halves of the day, and distances from universal time: +05:30 is plus five thirty."""
    if zone[0] not in "+-":
        return _HALVES[zone[0].lower()]
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or "0")
    sign = "plus" if zone[0] == "+" else "minus"
    return ["u", "t", "c", *([sign, *numbers.cardinal(hours)] if hours or minutes else [])] + (
        numbers.cardinal(minutes) if minutes else []
    )


def _full_hour(hour: int, around: Around) -> list[str]:
    if around.following_half_day():
        return []
    return ["o'clock"] if 0 < hour <= 12 else ["hundred"]


def decade_words(core: str) -> list[str] | None:
    match = _DECADE.fullmatch(core)
    if not match or (len(match[1]) == 4 and not 1100 <= int(match[1]) < 2100):
        return None
    return numbers.decade(int(match[1]))
