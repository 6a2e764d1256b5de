"""Amounts of money: $12.50, €3 million, 5€, US$20, $1.2bn."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.context import Around, Said
from engines.text.marks import CURRENCIES, CURRENCY_CODES, SCALE_SHORT, SCALES

_SIGNS = "".join(CURRENCIES)
_AMOUNT = r"(\d[\d,]*)(?:\.(\d+))?"
_MONEY = re.compile(
    rf"([-+]?)(?:us|u\.s\.|a|c|nz|hk)?([{_SIGNS}])([-+]?){_AMOUNT}(k|m|mn|bn|b|t|-?(?:thousand|million|billion|trillion))?(/[a-z]+)?",
    re.IGNORECASE,
)
_TRAILING = re.compile(rf"([-+]?){_AMOUNT}([{_SIGNS}])(/[A-Za-z]+)?")
_CODED = re.compile(rf"({'|'.join(CURRENCY_CODES)}){_AMOUNT}", re.IGNORECASE)
_ALONE = re.compile(rf"[A-Z]{{3}}|[Rr]s\.?|[{_SIGNS}]")
_RANGE = re.compile(rf"([{_SIGNS}])([\d.,]*\d)[-–][{_SIGNS}]?([\d.,]*\d)(k|m|mn|bn|b|t)?", re.IGNORECASE)
_PERIODS = {"hr": "hour", "h": "hour", "mo": "month", "yr": "year", "wk": "week", "min": "minute", "gb": "gigabyte"}
_BARE_CENTS = re.compile(rf"([-+]?[{_SIGNS}])(\.\d\d)")
_COMMA_CENTS = re.compile(r"(.*\d),(\d\d)(\D?)")


def read_money(core: str, around: Around) -> Said | None:
    found = _RANGE.fullmatch(core)
    if found:
        sign, low, high, scale = found.groups()
        upper = read_money(f"{sign}{high}{scale or ''}", around)
        lower = numbers.decimal(low.replace(",", "").rstrip("."))
        return None if upper is None else Said(words=[*lower, "to", *upper.words], taken=upper.taken)
    bare = _BARE_CENTS.fullmatch(core)
    if bare:
        core = f"{bare[1]}0{bare[2]}"
    comma = _COMMA_CENTS.fullmatch(core)
    if comma:  # 3,50 is three and fifty hundredths; 3,500 is not
        core = f"{comma[1].replace(',', '')}.{comma[2]}{comma[3]}"
    found = _MONEY.fullmatch(core)
    if found:
        minus = "-" in found[1] + found[3]
        return _spoken(found[2], found[4], found[5], (found[6] or "").lower(), minus, found[7], around)
    found = _TRAILING.fullmatch(core)
    if found:
        return _spoken(found[4], found[2], found[3], "", found[1] == "-", found[5], around)
    found = _CODED.fullmatch(core)
    if found:
        amount = found[2].replace(",", "") + (f".{found[3]}" if found[3] else "")
        return Said(words=[*numbers.decimal(amount), *CURRENCY_CODES[found[1].lower()].split()])
    return None


def read_sign(core: str, around: Around) -> Said | None:
    """A currency before its amount, a blank between: € 20, USD 5 million, Rs. 500."""
    if not _ALONE.fullmatch(core):
        return None
    name = CURRENCIES[core][1] if core in CURRENCIES else CURRENCY_CODES.get(core.lower().rstrip("."))
    if name is None or not re.fullmatch(_AMOUNT, around.following()):
        return None
    if core in CURRENCIES:
        said = read_money(core + around.following(), Around(left=around.left, peek=lambda n: around.peek(n + 1)))
        return None if said is None else Said(words=said.words, taken=said.taken + 1)
    amount = numbers.quantity(around.following())
    scale = around.following(2).lower() if around.goes_on(1) else ""
    if scale in SCALES:
        return Said(words=[*amount, scale, *name.split()], taken=2)
    one = amount == ["one"] and name.endswith("s")
    return Said(words=[*amount, *(name[:-1] if one else name).split()], taken=1)


def _spoken(
    sign: str, whole: str, fraction: str | None, scale: str, minus: bool, per: str | None, around: Around
) -> Said:
    one, many, cent, cents = CURRENCIES[sign]
    value = int(whole.replace(",", ""))
    before = ["minus"] if minus else []
    after = ["per", _PERIODS.get(per[1:].lower(), per[1:].lower())] if per else []
    next_word = "" if scale or per else around.following().lower()
    if scale or next_word in SCALES:
        amount = numbers.decimal(whole.replace(",", "") + (f".{fraction}" if fraction else ""))
        unit = [] if not scale and around.following(2).lower() in (one, many) else [many]  # "$2 billion dollars"
        words = [*before, *amount, SCALE_SHORT.get(scale, scale.lstrip("-")) if scale else next_word, *unit, *after]
        return Said(words=words, taken=0 if scale else 1)
    if fraction and len(fraction) != 2:
        return Said(words=[*before, *numbers.decimal(f"{value}.{fraction}"), many, *after])
    words = [*numbers.cardinal(value), one if value == 1 else many]
    if fraction and int(fraction):
        small = [*numbers.cardinal(int(fraction)), cent if int(fraction) == 1 else cents]
        words = small if value == 0 else [*words, "and", *small]
    return Said(words=[*before, *words, *after])
