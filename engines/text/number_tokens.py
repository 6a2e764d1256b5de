"""Every other token with digits: ordinals, fractions, ranges, versions, measures, plain numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from engines.text import numbers
from engines.text.abbreviations import UNITS
from engines.text.calendar_tokens import is_day_of_month, read_calendar
from engines.text.context import Around, Said
from engines.text.digit_strings import read_identifier, read_network_address, read_telephone
from engines.text.marks import MARKS
from engines.text.money import read_money

_ORDINAL = re.compile(r"(\d[\d,]*)(?:st|nd|rd|th)", re.IGNORECASE)
_FRACTION = re.compile(r"(\d{1,3})/(\d{1,3})")
_MIXED = re.compile(r"(\d+)([½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚])")
_RANGE = re.compile(r"(\d[\d,]*(?:\.\d+)?)[-–](\d[\d,]*(?:\.\d+)?)(%|°?[A-Za-z]+)?")
_UNDERSCORED = re.compile(r"\d{1,3}(?:[_']\d{3})+")
_OPEN_AMOUNT = re.compile(r"(.*\d[A-Za-z%]*)\+")
_TWICE = re.compile(r"([\d.,]+)(%|°[CF]?|[A-Za-z]+)([-–][\d.,]+)\2")
_COUNTED = frozenset({"step", "page", "part", "slide", "round", "question", "episode", "attempt"})
_LIST = re.compile(r"\d+(?:,\d+){2,}|\d+,\d{4,}")
_GROUPS_OF_DIGITS = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}")
_SPACED_GROUP = re.compile(r"\d{3}")
_HOURS = re.compile(r"(?:(\d+)h)?(\d+)m(?:in)?(?:(\d+)s)?|(\d+)m(\d+)s")
_VERSION = re.compile(r"v?\d+(?:\.\d+){2,}|v\d+(?:\.\d+)?", re.IGNORECASE)
_DOTTED_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}")
_EXPONENT = re.compile(r"([-+]?)(\d+(?:\.\d+)?)[eE]([-+]?)(\d{1,3})")
_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})")
_TIMES = re.compile(r"(\d+)[x×](\d+)(?:[x×](\d+))?")
_FEET = re.compile(r"(\d{1,2})'(\d{1,2})(?:\"|'')?")
_MEASURE = re.compile(r"([-+±~<>≈≤≥]|[<>]=)?(\d[\d,]*(?:\.\d+)?|\.\d+)(%|°[CFcf]?|¢|[A-Za-zµ²³/.]+)?")
_SIGNS = {
    "-": "minus",
    "+": "plus",
    "±": "plus or minus",
    "~": "about",
    "≈": "about",
    "<": "less than",
    ">": "more than",
    "<=": "at most",
    ">=": "at least",
    "≤": "at most",
    "≥": "at least",
}
_SCALE_LETTERS = {unit: (name, name) for unit, name in (("K", "k"), ("k", "k"), ("M", "million"), ("bn", "billion"))}
_NAMED_PARTS = {sign: MARKS[sign].removeprefix("one ") for sign in "½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚"}

_Reader = Callable[[str, Around], Said | None]


def read_number(core: str, around: Around) -> Said | None:
    """The words for a token that is a number of some kind, None for any other."""
    if not any(character.isdecimal() for character in core):
        return None
    for reader in _READERS:
        said = reader(core, around)
        if said is not None:
            return said
    return None


def is_plain_number(core: str) -> bool:
    return re.fullmatch(r"[-+]?\d[\d,]*(?:\.\d+)?", core) is not None


def is_measurable(core: str) -> bool:
    """Whether a unit may follow: a number, a range or a fraction."""
    return re.fullmatch(r"[-+~<>±]?\d[\d,]*(?:\.\d+)?(?:[-–/]\d[\d,.]*)?[½¼¾]?", core) is not None


def _ordinal(core: str, around: Around) -> Said | None:
    match = _ORDINAL.fullmatch(core)
    return Said(words=numbers.ordinal(_integer(match[1]))) if match else None


def _fraction(core: str, around: Around) -> Said | None:
    mixed = _MIXED.fullmatch(core)
    if mixed:
        part = _NAMED_PARTS[mixed[2]].split()
        one = ["an" if part[0] == "eighth" else "a"] if len(part) == 1 else []
        return Said(words=[*numbers.cardinal(int(mixed[1])), "and", *one, *part])
    match = _FRACTION.fullmatch(core)
    if not match or int(match[2]) == 0:
        return None
    top, bottom = int(match[1]), int(match[2])
    if around.left.lower in _COUNTED and 0 < top <= bottom:
        return Said(words=[*numbers.cardinal(top), "of", *numbers.cardinal(bottom)])
    and_before = ["and"] if around.left.number is not None and top < bottom else []
    if bottom == 1 or top > bottom * 4 or (bottom > 20 and top > 1):
        return Said(words=[*numbers.cardinal(top), "over", *numbers.cardinal(bottom)])
    return Said(words=and_before + numbers.fraction(top, bottom))


def _listed(core: str, around: Around) -> Said | None:
    """1,2,3 is no number."""
    if not _LIST.fullmatch(core) or _GROUPS_OF_DIGITS.fullmatch(core):
        return None
    return Said(words=[word for part in core.split(",") for word in numbers.quantity(part)])


def _thousands(core: str, around: Around) -> Said | None:
    """Thousands parted by underscores, apostrophes or blanks: 1_000, 1'000, 1 000 000."""
    if _UNDERSCORED.fullmatch(core):
        return Said(words=numbers.cardinal(int(re.sub(r"\D", "", core))))
    if not re.fullmatch(r"[1-9]\d{0,2}", core) or around.left.number is not None:
        return None
    taken = 0
    while taken < 4 and _SPACED_GROUP.fullmatch(around.following(taken + 1)):
        taken += 1
        if not around.goes_on(taken):
            break
    groups = [around.following(count) for count in range(1, taken + 1)]
    if taken < 2 and groups != ["000"]:
        return None
    return Said(words=numbers.cardinal(int(core + "".join(groups))), taken=taken)


def _range(core: str, around: Around) -> Said | None:
    match = _RANGE.fullmatch(_TWICE.sub(r"\1\3\2", core))  # 10%-20% is 10-20%
    if not match:
        return None
    first, second, unit = match[1], match[2], match[3] or ""
    if unit and unit.lower() not in UNITS:
        return None
    if _is_code(first) or _is_code(second):
        return None if unit else Said(words=numbers.digits(re.sub(r"\D", "", first + second)))
    if is_day_of_month(int(first), around) if first.isdecimal() and len(first) < 3 else False:
        return Said(words=[*numbers.ordinal(int(first)), "to", *numbers.ordinal(_integer(second))])
    high = _measure(second + unit, around)
    return None if high is None else Said(words=[*_plain(first, around, bare=False), "to", *high.words])


def _is_code(digits: str) -> bool:
    """Long, or with a leading zero: not an amount."""
    return (len(digits.partition(".")[0]) > 4 and "," not in digits) or (
        digits.startswith("0") and digits[1:2].isdecimal()
    )


def _open_amount(core: str, around: Around) -> Said | None:
    """ "5+ years" and "$1M+"."""
    match = _OPEN_AMOUNT.fullmatch(core)
    said = read_number(match[1], around) if match else None
    return None if said is None or said.taken else Said(words=[*said.words, "plus"])


def _dotted(core: str, around: Around) -> Said | None:
    if _DOTTED_THOUSANDS.fullmatch(core):
        return Said(words=numbers.cardinal(int(core.replace(".", ""))))
    if not _VERSION.fullmatch(core):
        return None
    words = ["version"] if core[0] in "vV" else []
    for index, part in enumerate(core.lstrip("vV").split(".")):
        words += (["point"] if index else []) + _group(part)
    return Said(words=words)


def _pairs(core: str, around: Around) -> Said | None:
    """Ratios, sizes, and heights in feet and inches."""
    match = _RATIO.fullmatch(core)
    if match:
        return Said(words=[*numbers.cardinal(int(match[1])), "to", *numbers.cardinal(int(match[2]))])
    match = _EXPONENT.fullmatch(core)
    if match:
        words = [
            *_sign(match[1]),
            *numbers.decimal(match[2]),
            "times",
            "ten",
            "to",
            "the",
            "power",
            "of",
            *_sign(match[3]),
        ]
        return Said(words=[*words, *numbers.cardinal(int(match[4]))])
    match = _HOURS.fullmatch(core)
    if match and (sum(part is not None for part in match.groups()) > 1 or re.fullmatch(r"\d+h", around.left.core)):
        hours, minutes, seconds = match[1], match[2] or match[4], match[3] or match[5]
        named = ((hours, "hour"), (minutes, "minute"), (seconds, "second"))
        return Said(
            words=[
                word
                for amount, unit in named
                if amount is not None
                for word in (*numbers.cardinal(int(amount)), unit if amount == "1" else unit + "s")
            ]
        )
    match = _FEET.fullmatch(core)
    if match:
        return Said(words=[*numbers.cardinal(int(match[1])), "foot", *numbers.cardinal(int(match[2]))])
    match = _TIMES.fullmatch(core)
    if not match:
        return None
    sides = [_side(side) for side in match.groups() if side]
    return Said(words=[word for index, side in enumerate(sides) for word in (["by"] if index else []) + side])


def _measure(core: str, around: Around) -> Said | None:
    match = _MEASURE.fullmatch(core)
    if not match:
        return None
    sign, amount, unit = match.groups()
    words = _SIGNS[sign].split() if sign else []
    if not unit:
        return Said(words=words + _plain(amount, around, bare=sign is None))
    if unit == "s" and amount.endswith(",000"):
        spoken = numbers.quantity(amount)
        return Said(words=[*words, *spoken[:-1], spoken[-1] + "s"])
    names = UNITS.get(unit.lower().rstrip("."))
    if names is None and re.fullmatch(r"[A-Za-z]+/[a-z]+", unit):  # kg/day
        top, _, bottom = unit.lower().partition("/")
        one, many = UNITS.get(top, (top, top))
        below = UNITS.get(bottom, (bottom, bottom))[0]
        names = (f"{one} per {below}", f"{many} per {below}")
    names = _SCALE_LETTERS.get(unit, names)
    if names is None or unit in ("B", "D", "G"):
        return None
    return Said(words=[*words, *numbers.quantity(amount), *names[amount != "1"].split()])


def _plain(amount: str, around: Around, *, bare: bool) -> list[str]:
    if not amount.isdecimal():
        return numbers.quantity(amount)
    value = int(amount)
    if amount.startswith("0") and len(amount) > 1:
        return numbers.digits(amount)
    if bare and len(amount) < 3 and is_day_of_month(value, around):
        return numbers.ordinal(value)
    if len(amount) == 4 and 1100 <= value < 2100:
        return numbers.cardinal(value) if bare and around.following_unit().rstrip(".") in UNITS else numbers.year(value)
    # Ten digits and more are a telephone or account number, unless they are round.
    return numbers.cardinal(value) if len(amount) < 10 or value % 1_000_000 == 0 else numbers.digits(amount)


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _sign(sign: str) -> list[str]:
    return ["minus"] if sign == "-" else []


def _side(digits: str) -> list[str]:
    """1920 by 1080 is said in pairs of digits."""
    return numbers.year(int(digits)) if len(digits) == 4 and digits[2:] != "00" else numbers.cardinal(int(digits))


def _group(digits: str) -> list[str]:
    return numbers.cardinal(int(digits)) if len(digits) < 4 else numbers.digits(digits)


_READERS: tuple[_Reader, ...] = (
    read_money,
    read_telephone,
    read_calendar,
    _open_amount,
    read_identifier,
    _listed,
    _thousands,
    read_network_address,
    _ordinal,
    _fraction,
    _range,
    _dotted,
    _pairs,
    _measure,
)
