"""Numbers whose marks are part of a name or a notation: 401(k), 0x8007, 7-6(5), 10^9/L."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import spell
from engines.text.amounts import COUNTED, is_noun
from engines.text.context import Around, Spoken
from engines.text.units import detached_unit, unit_below
from engines.text.word_lists import word_list

_PARAGRAPH = re.compile(r"([1-9]\d{2})((?:\([a-z0-9]{1,2}\))*\([a-z0-9]{1,2})\)?(?:\)(s))?")
_PLAN = re.compile(r"(40[13])[kKbB](s?)")  # 401k: savings plans
_HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]+")
_TIE_BREAK = re.compile(r"(\d{1,2})[-–](\d{1,2})\((\d{1,2})\)?")
_AGO = re.compile(r"(\d{1,3})(s|m|min|h|hr|d|w|wk|mo|y|yr)")
_AGES = {
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "d": "day",
    "w": "week",
    "wk": "week",
    "mo": "month",
    "y": "year",
    "yr": "year",
}
_MINUTES, _SECONDS, _TENS = re.compile(r"[1-9]m|[1-5]\dm"), re.compile(r"[1-5]?\ds"), re.compile(r"[1-9]0s")
_TIME_BEFORE = re.compile(r"\d{1,2}(?:m|min|h)")
_BEFORE_TIMES = frozenset(
    word_list(
        "in wait waits waited waiting for every after within another last lasts lasted took take takes taking about "
        "around than over under least most only just timeout sleep pause rest hold plank delay per"
    )
)
# Before minutes alone; behind the others of the list above a length is as likely.
_BEFORE_MINUTES = frozenset(
    word_list(
        "in wait waits waited waiting every sleep timeout pause eta runtime duration uptime elapsed delay delayed"
    )
)
_BEHIND_MINUTES = frozenset(word_list("left remaining later late early elapsed"))
_OF_DECADES = frozenset(
    word_list("music movies films fashion songs rock pop hits style kids cars hair tunes vibes show shows women men")
)
_MODELS = re.compile(r"([1-9]\d[1-9]|[1-9]0[1-9])s")  # 747s
_BEFORE_MODELS = frozenset(word_list("the these those boeing levi's levis porsche peugeot airbus"))
_SPANS = frozenset(
    word_list(
        "timeout delay window interval limit mark video clip cooldown period pause wait timer sprint test break lap "
        "duration gap step exposure buffer deadline"
    )
)
_PHONES = re.compile(r"([3-6])s")
_FORMS = frozenset(word_list("1040 1065 1095 1098 1099"))
_BEFORE_FORMS = frozenset(word_list("a an your my form irs w-2 w-9 w2 w9 1040 1099"))
_BEHIND_FORMS = frozenset(word_list("form forms contractor contractors worker workers income filing filer employee"))
_YEAR = re.compile(r"10\d\d")
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
    named = _named(core, around)
    if named is not None:
        return Spoken(words=named)
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


def _named(core: str, around: Around) -> list[str] | None:
    """ "5m ago", "the 747s", "iPhone 6s", "a 1099", "in 1066" """
    ago = _AGO.fullmatch(core)
    if ago and around.following().lower() == "ago":
        return [*numbers.cardinal(int(ago[1])), _AGES[ago[2]] + ("" if int(ago[1]) == 1 else "s")]
    left = around.left.lower
    if _lasts(core, around):
        return [*numbers.cardinal(int(core[:-1])), _AGES[core[-1]] + ("" if core[:-1] == "1" else "s")]
    models = _MODELS.fullmatch(core) if left in _BEFORE_MODELS else None
    if models and around.following().lower() not in _SPANS:
        words = _hundreds(models[1])
        return [*words[:-1], _many(words[-1])]
    if left == "iphone" and _PHONES.fullmatch(core):
        return [*numbers.cardinal(int(core[0])), "s"]
    if core in _FORMS and _is_form(left, around):
        return numbers.year(int(core))
    if left == "in" and core != "1000" and _YEAR.fullmatch(core):
        counted = is_noun(around.peek(1) or "") or detached_unit(around.following(), core) is not None
        return None if counted else numbers.year(int(core))
    return None


def _lasts(core: str, around: Around) -> bool:
    """ "in 30s", "2m 30s", "ETA: 15m": a time, no decade and no length."""
    if _MINUTES.fullmatch(core):
        following = around.following().lower()
        if _SECONDS.fullmatch(following) or following in _BEHIND_MINUTES:
            return True
        # "In 50m, turn left"; "in 5m people"; "in 15m of water".
        counts = core == "50m" or following == "of" or following in COUNTED
        return around.left.lower in _BEFORE_MINUTES and not counts
    if not _TENS.fullmatch(core) or around.following().lower() in _OF_DECADES:
        return False
    if around.recent[-2:-1] == ("the",):  # the over 50s
        return False
    return around.left.lower in _BEFORE_TIMES or _TIME_BEFORE.fullmatch(around.left.core) is not None


def _is_form(left: str, around: Around) -> bool:
    following = around.following()
    if following.lower() in _BEHIND_FORMS:
        return True
    if left in ("or", "and") and len(around.recent) > 1:
        left = around.recent[-2].lower()
        if left in ("a", "an", "your", "my"):
            return False
    return left in _BEFORE_FORMS and not is_noun(following)


def _many(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("x") else "s")


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
