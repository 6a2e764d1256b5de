"""Dates and times of day as written: 2026-11-21, 11/21/2026, 3:45pm, 15:30, 1990s."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.abbreviations import DAY_SHORT, MONTH_SHORT, MONTHS
from engines.text.context import Around, Left, Spoken
from engines.text.word_lists import word_list

_TIME = re.compile(
    r"([01]?\d|2[0-4])[:h]([0-5]\d)(?::([0-5]\d)(\.\d+)?)?(z|am|pm|a\.m|p\.m|[-+]\d\d(?::?\d\d)?)?", re.IGNORECASE
)
_HOUR = re.compile(r"(1[0-2]|0?[1-9])(am|pm|a\.m|p\.m)", re.IGNORECASE)
_ISO_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_US_DATE = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})")
_MONTH_DAY = re.compile(r"(\d{1,2})/(\d{1,2})")
_MONTH_YEAR = re.compile(r"(0?[1-9]|1[0-2])/((?:19|20)\d\d)")
_MONTH_SHORT_YEAR = re.compile(r"(0?[1-9]|1[0-2])/([2-9]\d)")
_EXPIRES = re.compile(r"(?:^| )(?:(?:exp|expiry|expiration)( date)?|(valid thru))(?: is| was| of| in)?$")
_EXPIRES_ON = re.compile(r"(?:^| )(?:expires|expire|expired|expiring|valid|good)(?: through| until| till| in)?$")
_POINTED_TIME = re.compile(r"(1[0-2]|0?[1-9])\.([0-5]\d)(am|pm|a\.m|p\.m)?", re.IGNORECASE)
_MILITARY = re.compile(r"([01]\d|2[0-3])([0-5]\d)")
_HOURS = frozenset(word_list("hours hrs"))
_BEFORE_HOURS = frozenset(word_list("at until till by from between before after"))
_BEFORE_DATES = frozenset(word_list("on by due until till since starting effective before after through thru"))
_OPERATIONS = frozenset(word_list("multiply multiplied multiplying divide divided dividing times factor scale scaled"))
_BEHIND_DATES = frozenset(
    word_list(
        "at from to and or through thru until till for between by in with before after if please is was are were will "
        "we i you he she it they then but so because when as not this that which via around about instead during pm am"
    )
)
_ANSWERS = frozenset(
    word_list(
        "rsvp due reply respond submit register pay return returned deadline send sent apply order delivered arrive "
        "ready done confirm finish finished book sign complete completed back"
    )
)
_SHARES = frozenset(word_list("of off price priced day days hour hours cup cups"))
_DECADE = re.compile(r"'?(\d{3}0|\d0)'?s")
_DAY_OR_YEAR = re.compile(r"(?:[12]\d{3}|[12]?\d|3[01])(?:st|nd|rd|th)?(?:$|[-–])")
_PLAIN_FRACTIONS = frozenset({2, 3, 4, 5, 6, 8, 10, 12, 16})
_DAYS = frozenset(DAY_SHORT.values())
_HALVES = {"a": ["_a", "m"], "p": ["p", "m"], "z": ["u", "t", "c"]}


def read_calendar(core: str, around: Around) -> Spoken | None:
    date, mark, time = core.partition("T")
    if mark and _ISO_DATE.fullmatch(date):
        day, clock = _date(date, around), _time(time, around, dated=True)
        return None if day is None or clock is None else Spoken(words=day + clock)
    words = _month_year(core, around) or _date(core, around) or _military(core, around)
    words = words or _time(core, around) or decade_words(core)
    return None if words is None else Spoken(words=words)


def month_name(core: str, around: Around) -> str | None:
    """ "Nov" or "Nov." next to a day or a year; a month in full needs no reading."""
    name = MONTH_SHORT.get(core.lower())
    if name is None or not core[0].isupper():
        return None
    before = around.recent[-2:-1] if around.left.lower == "of" else (around.left.number or around.left.core,)
    dated = any(map(_DAY_OR_YEAR.match, before)) or _DAY_OR_YEAR.match(around.following())
    return name if dated else None


def day_name(core: str, around: Around, *, stopped: bool) -> str | None:
    """ "Mon.", "Tue" and "Sun 9/7", but not the sun."""
    name = DAY_SHORT.get(core.lower()) if core.istitle() else None
    if name is None or stopped or core in ("Tue", "Tues", "Thu", "Thur", "Thurs", "Fri"):
        return name
    return name if _MONTH_DAY.fullmatch(around.following()) else None


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


def _month_year(core: str, around: Around) -> list[str] | None:
    """ "11/2025", and "08/27" of what expires."""
    match = _MONTH_YEAR.fullmatch(core)
    if match and (len(match[1]) == 2 or match[1] != "1" or match[2][2:] != "00"):  # 1/2000 of a second
        return [MONTHS[int(match[1]) - 1], *numbers.year(int(match[2]))]
    match = _MONTH_SHORT_YEAR.fullmatch(core)
    if match is None:
        return None
    named, year = _EXPIRES.search(around.before), int(match[2])
    card = named is not None and (named[1] or named[2] or year < 30)  # a coupon's "exp. 12/31" is a day
    if card or (year > 31 and (named or _EXPIRES_ON.search(around.before))):
        return [MONTHS[int(match[1]) - 1], *numbers.year(2000 + year)]
    return None


def _is_dated(month: int, day: int, around: Around) -> bool:
    """Whether "3/4" is a date, by the words on both sides."""
    left = around.left
    before = left.lower.rstrip(".")
    if not left.core or not 1 <= month <= 12:
        return False
    if left.capitalised and (before in DAY_SHORT or before in _DAYS):
        return around.following().lower() not in _SHARES
    if left.paused:
        return False
    if before == "from" and day == 1:
        return month > 1
    if before not in _BEFORE_DATES or not _OPERATIONS.isdisjoint(around.before.split(" ")):
        return False
    asked = before in ("on", "due") or not _ANSWERS.isdisjoint(around.before.split(" "))
    if month < day and not asked:  # a share of a whole
        return False
    following = around.following()
    return not following or following.lower() in _BEHIND_DATES or following[:1].isupper()


def _military(core: str, around: Around) -> list[str] | None:
    """ "0930 hours", "at 2100 hours" """
    match = _MILITARY.fullmatch(core)
    if match is None or (core[0] != "0" and around.left.lower not in _BEFORE_HOURS):
        return None
    if around.following().lower() not in _HOURS or around.following(2).lower() in ("of", "per"):
        return None
    hour, minute = int(match[1]), int(match[2])
    words = [*(["oh"] if 0 < hour < 10 else []), *numbers.cardinal(hour)]
    return [*words, *(_minutes(minute) or ["hundred"])]


def _minutes(minute: int) -> list[str]:
    return [*(["oh"] if minute < 10 else []), *numbers.cardinal(minute)] if minute else []


def _date(core: str, around: Around) -> list[str] | None:
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
    if match is None:
        return None
    month, day = int(match[1]), int(match[2])
    if "0" in (match[1][0], match[2][0]):  # no fraction has a zero in front
        return _spoken_date(None, month, day)
    if (day not in _PLAIN_FRACTIONS and month < day) or _is_dated(month, day, around):
        return _spoken_date(None, month, day)
    return None


def _spoken_date(year: int | None, month: int, day: int) -> list[str] | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return [MONTHS[month - 1], *numbers.ordinal(day), *(numbers.year(year) if year is not None else [])]


def _time(core: str, around: Around, *, dated: bool = False) -> list[str] | None:
    match = _HOUR.fullmatch(core)
    if match:
        return [*numbers.cardinal(int(match[1])), *_HALVES[match[2][0].lower()]]
    match = _POINTED_TIME.fullmatch(core)
    if match and (match[3] or around.following_half_day()):  # 7.30pm
        half = _HALVES[match[3][0].lower()] if match[3] else []
        return [*numbers.cardinal(int(match[1])), *_minutes(int(match[2])), *half]
    match = _TIME.fullmatch(core)
    if not match or ((match[5] or "").startswith("-") and not (match[3] or dated)):  # 9:00-17:00 has no zone
        return None
    hour, minute = int(match[1]), int(match[2])
    words = numbers.cardinal(hour)
    if minute:
        words = words + _minutes(minute)
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
