"""Short names of days that are words too, by their neighbours: "on Sat", "Sun 10-4", "Mon, Wed, Fri"."""

from __future__ import annotations

import re

from engines.text.abbreviations import DAY_SHORT, MONTH_SHORT, MONTHS
from engines.text.context import Around
from engines.text.word_lists import word_list

_DOUBTFUL = frozenset(["Mon", "Wed", "Sat", "Sun"])
_DAYS = frozenset(DAY_SHORT) | frozenset(DAY_SHORT.values())
_JOINING = frozenset(["&", "and", "or", "to", "through", "thru", "-", "–", "/"])
_BEFORE_DAYS = frozenset(word_list("on this next last every until till closed open"))
_PARTS = frozenset(word_list("morning afternoon evening night noon mornings afternoons evenings nights"))
_TIME = re.compile(
    r"\d{1,2}(?::\d\d)?(?:[ap]m?)?[-–]\d{1,2}(?::\d\d)?(?:[ap]m?)?|\d{1,2}:\d\d(?:[ap]m)?|\d{1,2}[ap]m|\d{1,2}/\d{1,2}"
)


def weekday(core: str, closing: str, around: Around) -> str | None:
    """Its name where the neighbours are those of a day."""
    if core not in _DOUBTFUL or not (_follows(around) or _leads(core, closing, around)):
        return None
    return DAY_SHORT[core.lower()]


def is_date(following: str) -> bool:
    """Whether a month or a day of one begins here."""
    return _is_month(following) or following[:1].isdecimal()


def _is_month(token: str) -> bool:
    low = token.lower()
    return token[:1].isupper() and (low in MONTHS or low in MONTH_SHORT)


def _is_day(token: str) -> bool:
    return token[:1].isupper() and token.lower() in _DAYS


def _follows(around: Around) -> bool:
    """Behind another day."""
    recent = around.recent
    if not recent:
        return False
    return _is_day(recent[-1]) or (len(recent) > 1 and recent[-1].lower() in _JOINING and _is_day(recent[-2]))


def _leads(core: str, closing: str, around: Around) -> bool:
    following = around.following()
    if _is_month(following) or _is_day(following) or _TIME.fullmatch(following.lower()):
        return True
    if following.lower() in _PARTS:
        return True
    if following.isdecimal() or following.lower() in _JOINING or following.lower() == "at":
        behind = around.following(2)
        if following.isdecimal():
            return _is_month(behind) or behind.lower() in ("am", "pm", "a.m", "p.m")
        return behind[:1].isdecimal() if following.lower() == "at" else _is_day(behind)
    named = following[:1].isupper() and not closing  # "on Sun Tzu"
    return around.left.lower in _BEFORE_DAYS and not (core == "Sun" and named)
