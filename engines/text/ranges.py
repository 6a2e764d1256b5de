"""Ranges: two readings of one class with a dash between are spoken with "to".

A class is what the ends measure: the unit or currency of an amount, times of day, ordinals, decades, days of the week,
months. A bare number takes the class of the other end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from engines.text import numbers
from engines.text.abbreviations import DAY_SHORT, MONTH_SHORT, MONTHS
from engines.text.amounts import COUNTED, SCALE_SHORT, Amount, following_scale, number_words, parse_amount, spoken
from engines.text.calendar_tokens import clock_words, decade_words, is_day_of_month
from engines.text.context import Around, Spoken
from engines.text.word_lists import word_list

_DASH = re.compile(r"[-–—]")
_MAX_DASHES = 4
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)", re.IGNORECASE)
_DAYS = frozenset(DAY_SHORT.values())
_FULL_NAMES = frozenset([*MONTHS, *_DAYS])
_HALF_DAYS = frozenset(word_list("am pm a.m p.m"))
_COUNTS = re.compile(r"(\d{1,3}(?:\.\d)?)(k|K|M|B|T|bn|mn|tn)?[-–](\d{1,3}(?:\.\d)?)(k|K|M|B|T|bn|mn|tn)")
_NAMED_HOURS = frozenset(word_list("noon midnight midday"))
_RACES = frozenset(word_list("run runs race races walk ride swim jog resolution video monitor"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    kind: object  # None of a bare number
    words: list[str]
    amount: Amount | None = None
    is_code: bool = False  # long, or with a leading zero, and not in groups of thousands: no amount


def range_kind(core: str) -> object:
    """What a token is as an end of a range: a class, "number" of a bare number, None of anything else."""
    end = _end(core)
    return None if end is None else "number" if end.kind is None else end.kind


def agree(first: object, second: object) -> bool:
    return first is not None and second is not None and (first == second or "number" in (first, second))


def read_range(core: str, around: Around) -> Spoken | None:
    dashes = [match.start() for match in _DASH.finditer(core)]
    if not dashes or len(dashes) > _MAX_DASHES:
        return None
    counts = _counts(core, around)
    if counts is not None:
        return counts
    for at in dashes:
        if not 0 < at < len(core) - 1:
            continue
        low, high = _end(core[:at]), _end(core[at + 1 :])
        if low is not None and low.amount is not None and low.amount.money:
            high = _upper(low.amount, core[at + 1 :]) or high
        if low is None or high is None or not (low.kind == high.kind or None in (low.kind, high.kind)):
            continue
        return _joined(low, high, core[at] == "-", around)
    return None


def name_range(first: str, second: str) -> list[str] | None:
    """Of days of the week or of months, in full or short."""
    low, high = _name(first), _name(second)
    if low is None or high is None or (low in _DAYS) != (high in _DAYS):
        return None
    return [low, "to", high]


def _name(text: str) -> str | None:
    low = text.rstrip(".").lower()
    if not text[:1].isupper():
        return None
    return low if low in _FULL_NAMES else DAY_SHORT.get(low) or MONTH_SHORT.get(low)


def _joined(low: _End, high: _End, is_hyphen: bool, around: Around) -> Spoken | None:
    first, second = low.amount, high.amount
    if first is None or second is None:
        return Spoken(words=[*low.words, "to", *high.words])
    if low.kind is None and high.kind is None and not first.sign and not second.sign:
        if low.is_code or high.is_code:
            digits = re.sub(r"\D", "", first.number + second.number)
            return Spoken(words=numbers.digits(digits)) if is_hyphen else None
        if (
            is_hyphen
            and around.left.capitalised
            and len(second.number) == 3
            and float(first.number) > float(second.number)
        ):
            return Spoken(words=[*plain_number(first.number), *plain_number(second.number)])  # a Boeing 747-400
        if first.number.isdecimal() and len(first.number) < 3 and is_day_of_month(int(first.number), around):
            day = int(second.number) if second.number.isdecimal() else None
            first_day = numbers.ordinal(int(first.number))
            return None if day is None else Spoken(words=[*first_day, "to", *numbers.ordinal(day)])
    if high.kind is None:
        second = _as(first, second)
    scale = following_scale(second, around, 0) if second.money else ""
    if scale:
        first, second = replace(first, scale=scale), replace(second, scale=scale)
    elif second.money and second.scale and not first.scale and float(first.number) < float(second.number):
        first = replace(first, scale=second.scale)
    top = spoken(second, bare=plain_number(second.number))
    return Spoken(words=[*_low_words(first, second), "to", *top], taken=bool(scale))


def _upper(first: Amount, text: str) -> _End | None:
    """The upper end of an amount of money, which may have a scale or a period: $75-90k, €20-30/month."""
    assert first.money is not None
    amount = parse_amount("$" + text) if text[0].isdecimal() and not text[-1].isdecimal() else None
    if amount is None:
        return None
    second = replace(amount, money=first.money)
    return _End(kind=second.kind, words=spoken(second), amount=second)


def _counts(core: str, around: Around) -> Spoken | None:
    """ "50-75k", "1.5-2M users"; "5-10k" alone is as often a distance."""
    match = _COUNTS.fullmatch(core)
    if match is None or (match[2] or match[4]) != match[4] or float(match[1]) >= float(match[3]):
        return None
    letter, following = match[4], around.following().lower()
    sure = letter in ("M", "bn", "mn", "tn") or (letter in "kK" and float(match[3]) >= 20 and following not in _RACES)
    if not sure and following not in COUNTED and letter not in "kK":
        return None
    scale = SCALE_SHORT[letter.lower()] if sure or following in COUNTED else "k"
    return Spoken(words=[*numbers.decimal(match[1]), "to", *numbers.decimal(match[3]), scale])


def _as(first: Amount, second: Amount) -> Amount:
    return replace(second, unit=first.unit, money=first.money, per=first.per)


def _low_words(first: Amount, second: Amount) -> list[str]:
    """The unit is spoken once, behind the upper end; the scale too, where both have the same."""
    if first.money and "." in first.number and not first.scale and not second.scale:
        return spoken(first)
    if first.kind is None:
        bare = plain_number(first.number)
        return [*first.sign, *bare]
    return number_words(first, scale=first.scale != second.scale)


def plain_number(number: str) -> list[str]:
    """A number that stands for itself: years as years."""
    if number.isdecimal():
        value = int(number)
        if number.startswith("0") and len(number) > 1:
            return numbers.digits(number)
        if len(number) == 4 and 1100 <= value < 2100:
            return numbers.year(value)
        # Ten digits and more are a telephone or account number, unless they are round.
        return numbers.cardinal(value) if len(number) < 10 or value % 1_000_000 == 0 else numbers.digits(number)
    return numbers.decimal(number)


def _end(text: str) -> _End | None:
    ordinal = _ORDINAL.fullmatch(text)
    if ordinal:
        return _End(kind="ordinal", words=numbers.ordinal(int(ordinal[1])))
    clock = clock_words(text)
    if clock is not None:
        return _End(kind="clock", words=clock)
    decade = decade_words(text)
    if decade is not None:
        return _End(kind="decade", words=decade)
    if text.lower() in _NAMED_HOURS:
        return _End(kind="clock", words=[text.lower()])
    name = _name(text)
    if name is not None:
        return _End(kind="day" if name in _DAYS else "month", words=[name])
    if not any(one.isdecimal() for one in text):
        return None
    amount = parse_amount(text)
    if amount is None or amount.singular or (amount.sign and amount.sign != ("minus",) and amount.sign != ("plus",)):
        return None
    bare = plain_number(amount.number) if amount.kind is None else None
    kind = "clock" if amount.unit and amount.unit[0] in ("_a m", "p m") else amount.kind
    whole = amount.number.partition(".")[0]
    is_code = "," not in text and (len(whole) > 4 or (whole.startswith("0") and len(whole) > 1))
    return _End(kind=kind, words=spoken(amount, bare=bare), amount=amount, is_code=is_code)
