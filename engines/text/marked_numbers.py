"""Numbers whose marks are part of a name or a notation: 401(k), 0x8007, 7-6(5), 10^9/L."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import spell
from engines.text.amounts import COUNTED
from engines.text.context import Around, Spoken
from engines.text.units import unit_below

_PARAGRAPH = re.compile(r"([1-9]\d{2})((?:\([a-z0-9]{1,2}\))*\([a-z0-9]{1,2})\)?(?:\)(s))?")
_PLAN = re.compile(r"(40[13])[kKbB](s?)")  # 401k: savings plans
_HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]+")
_TIE_BREAK = re.compile(r"(\d{1,2})[-–](\d{1,2})\((\d{1,2})\)?")
_POWER_PER = re.compile(r"10\^(\d{1,2})/([A-Za-zµ]{1,3})")
_LESS = re.compile(r"[nxyz]-\d{1,2}|[b-hj-z]-1")  # n-1
_RAISED = re.compile(r"([a-z]|\d{1,3})\)\^(\d)")  # (x + 1)^2
_TIMES_VARIABLE = re.compile(r"(\d{1,4})([xX])")  # 2x, which is twice where no sum is
_SUM_SIGNS = frozenset(["+", "-", "−", "=", "<", ">", "<=", ">=", "≤", "≥", "≠"])
_POWERS = {"2": ["squared"], "3": ["cubed"]}


def read_marked_number(core: str, around: Around) -> Spoken | None:
    algebra = _algebra(core, around)
    if algebra is not None:
        return Spoken(words=algebra)
    paragraph = _PARAGRAPH.fullmatch(core)
    if paragraph:
        letters = [word for part in re.findall(r"\w+", paragraph[2]) for word in _part(part)]
        return Spoken(words=[*_hundreds(paragraph[1]), *_plural(letters, paragraph[3])])
    plan = _PLAN.fullmatch(core)
    if plan and around.following().lower() not in COUNTED:
        return Spoken(words=[*_hundreds(plan[1]), *_plural([core[3].lower()], plan[2])])
    if _HEXADECIMAL.fullmatch(core):
        return Spoken(words=["zero", "x", *(word for one in core[2:] for word in _part(one))])
    games = _TIE_BREAK.fullmatch(core)
    if games:
        first, second, lost = (numbers.cardinal(int(one)) for one in games.groups())
        return Spoken(words=[*first, "to", *second, *lost])
    power = _POWER_PER.fullmatch(core)
    below = unit_below(power[2]) if power else None
    if power and below is not None:
        exponent = numbers.cardinal(int(power[1]))
        return Spoken(words=["ten", "to", "the", "power", "of", *exponent, "per", *below.split()])
    return None


def _algebra(core: str, around: Around) -> list[str] | None:
    if _LESS.fullmatch(core):
        letter, number = core.split("-")
        return [*spell(letter), "minus", *numbers.cardinal(int(number))]
    raised = _RAISED.fullmatch(core)
    if raised:
        power = _POWERS.get(raised[2]) or ["to", "the", "power", "of", *numbers.cardinal(int(raised[2]))]
        return [*_part(raised[1]), *power]
    product = _TIMES_VARIABLE.fullmatch(core)
    if product and _is_summed(around):
        return [*numbers.cardinal(int(product[1])), *spell(product[2])]
    return None


def _is_summed(around: Around) -> bool:
    """Whether the token is a term of a sum or an equation."""
    recent = around.recent
    if recent and (recent[-1] in ("+", "−") or (recent[-1] == "=" and len(recent) > 1 and len(recent[-2]) == 1)):
        return True
    sign = around.peek(1)
    if sign not in _SUM_SIGNS:
        return False
    return sign != "-" or _TIMES_VARIABLE.fullmatch(around.following(2)) is None


def _part(part: str) -> list[str]:
    return numbers.cardinal(int(part)) if part.isdecimal() else spell(part)


def _plural(words: list[str], ending: str | None) -> list[str]:
    return [*words[:-1], words[-1] + "'s"] if ending else words


def _hundreds(digits: str) -> list[str]:
    """401 is four oh one, 457 four fifty seven."""
    first, rest = int(digits[0]), int(digits[1:])
    if not rest:
        return numbers.cardinal(int(digits))
    return [*numbers.cardinal(first), *(["oh"] if rest < 10 else []), *numbers.cardinal(rest)]
