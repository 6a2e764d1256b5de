"""What the attributes of SSML say: how long a break is, how fast a stretch is spoken.

A break travels inside the text as one private character, which says its length; text that comes with such characters
loses them before.
"""

from __future__ import annotations

import re

MAX_BREAK_S = 5.0
LONG_S = 0.5  # from here on a break parts sentences
HOLD = re.compile("([\ue000-\uf8ff])")
_STEP_S = 0.01
_TIME = re.compile(r"\+?(\d{0,6}(?:\.\d{1,6})?)(ms|s)")
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.35, "strong": 0.75, "x-strong": 1.2}
MIN_RATE, MAX_RATE = 0.75, 1.33  # what a voice is trained on
_RATES = {"x-slow": 0.75, "slow": 0.85, "medium": 1.0, "default": 1.0, "fast": 1.15, "x-fast": 1.33}
_RATE = re.compile(r"([+-]?)(\d{1,4}(?:\.\d{1,4})?)(%?)")


def hold(seconds: float) -> str:
    """A break in the text."""
    return chr(0xE000 + round(min(seconds, MAX_BREAK_S) / _STEP_S)) if seconds > 0 else ""


def held_s(mark: str) -> float:
    return (ord(mark) - 0xE000) * _STEP_S


def duration_s(text: str) -> float | None:
    """ "300ms", "1.5s" """
    found = _TIME.fullmatch(text.strip())
    if found is None or not found[1].strip("."):
        return None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def strength_s(name: str) -> float | None:
    return _STRENGTHS.get(name or "medium")


def rate_of(text: str) -> float | None:
    """ "slow", "80%", "+20%", "1.2"; None of what is no rate."""
    named = _RATES.get(text.strip().lower())
    found = _RATE.fullmatch(text.strip())
    if named is not None or found is None:
        return named
    sign, value, percent = found[1], float(found[2]), found[3]
    if percent:
        return (100 + float(sign + found[2])) / 100 if sign else value / 100
    return None if sign else value
