"""Every other token with digits: ordinals, fractions, ranges, versions, measures, plain numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

from engines.text import numbers
from engines.text.amounts import canonical, read_amount
from engines.text.calendar_tokens import is_day_of_month, read_calendar
from engines.text.context import Around, Spoken
from engines.text.digit_strings import read_network_address, read_telephone
from engines.text.identifiers import read_identifier
from engines.text.marked_numbers import read_marked_number
from engines.text.marks import MARKS
from engines.text.ranges import plain_number, read_range
from engines.text.streets import read_house_number
from engines.text.units import detached_unit, unit_names
from engines.text.word_lists import word_list

_ORDINAL = re.compile(r"(\d[\d,]*)(?:st|nd|rd|th)", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{1,4}(?:\.\d)?)/(\d{1,3})")
_MIXED = re.compile(r"(\d+)([½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚])")
_HYPHENED = re.compile(r"(\d{1,3})-(\d)/(\d{1,2})")  # 2-1/2
_UNDERSCORED = re.compile(r"\d{1,3}(?:[_']\d{3})+")
_OPEN_AMOUNT = re.compile(r"(.*\d[A-Za-z%]*)\+")
_RATED = frozenset(word_list("rating rated rate rates score scored scores grade graded gave gives give review marks"))
_MEASURES = frozenset(word_list("cup cups inch inches mile miles pound ounce teaspoon tablespoon acre hour length of"))
_COUNTED = frozenset({"step", "page", "part", "slide", "round", "question", "episode", "attempt"})
_LIST = re.compile(r"\d+(?:,\d+){2,}|\d+,\d{4,}")
_GROUPS_OF_DIGITS = re.compile(r"\d{1,3}(?:,\d{2,3})*,\d{3}")
_PLAIN_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_FIRST_GROUP = re.compile(r"[1-9]\d{0,2}")
_SPACED_GROUP = re.compile(r"\d{3}")
_HOURS = re.compile(r"(?:(\d+)h)?(\d+)m(?:in)?(?:(\d+)s)?|(\d+)m(\d+)s")
_VERSION = re.compile(r"v?\d+(?:\.\d+){2,}|v\d+(?:\.\d+)?", re.IGNORECASE)
_DOTTED_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:\.\d{3}){2,}")
_EXPONENT = re.compile(r"([-+]?)(\d+(?:\.\d+)?)([eE])([-+]?)(\d{1,3})")
_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})")
_MEASURED = re.compile(r"((?:\d+-)?\d+/\d+|\d*[½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚]|\d+[x×]\d+)-([A-Za-z]+)\.?")
_TIMES = re.compile(r"(\d+)[x×](\d+)(?:[x×](\d+))?")
_FEET = re.compile(r"(\d{1,2})'(\d{1,2})(?:\"|'')?")
_BARE = re.compile(r"([-+±~<>≈≤≥]|[<>]=)?(\.?\d(?:[\d.,]*\d)?)")
_MEASURABLE = re.compile(
    r"[-+~<>±]?(?:\d[\d,]*(?:\.\d+)?(?:[eE]\d{1,3}|[-–/]\d[\d,.]*)?[½¼¾]?|\d{1,3}(?:\.\d{3})+(?:,\d+)?|[½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚])"
)
_THOUSANDS_OF = re.compile(r"\d{1,3}(?:,\d{3})*,000s")
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
_NAMED_PARTS = {sign: MARKS[sign].removeprefix("one ") for sign in "½¼¾⅓⅔⅛⅜⅝⅞⅕⅖⅗⅘⅙⅚"}

_Reader = Callable[[str, Around], Spoken | None]


def read_number(core: str, around: Around) -> Spoken | None:
    """The words for a token that is a number of some kind, None for any other."""
    if not any(character.isdecimal() for character in core):
        return _part(core, around)
    for reader in _READERS:
        spoken = reader(core, around)
        if spoken is not None:
            return spoken
    return None


def is_plain_number(core: str) -> bool:
    return _PLAIN_NUMBER.fullmatch(core) is not None


def is_measurable(core: str) -> bool:
    """Whether a unit may follow: a number, a range or a fraction."""
    return _MEASURABLE.fullmatch(core) is not None


def _ordinal(core: str, around: Around) -> Spoken | None:
    match = _ORDINAL.fullmatch(core)
    return Spoken(words=numbers.ordinal(_integer(match[1]))) if match else None


def _fraction(core: str, around: Around) -> Spoken | None:
    mixed = _MIXED.fullmatch(core)
    if mixed:
        return Spoken(words=[*numbers.cardinal(int(mixed[1])), *_and_part(mixed[2])])
    hyphened = _HYPHENED.fullmatch(core)
    if hyphened and int(hyphened[2]) < int(hyphened[3]):
        return Spoken(
            words=[*numbers.cardinal(int(hyphened[1])), "and", *numbers.fraction(*map(int, hyphened.groups()[1:]))]
        )
    return _slashed(core, around)


def _part(core: str, around: Around) -> Spoken | None:
    """A sign of a fraction behind its whole number: 1 ½."""
    if core not in _NAMED_PARTS or around.left.number is None or not around.left.number.isdecimal():
        return None
    return Spoken(words=_and_part(core))


def _and_part(sign: str) -> list[str]:
    part = _NAMED_PARTS[sign].split()
    one = ["an" if part[0] == "eighth" else "a"] if len(part) == 1 else []
    return ["and", *one, *part]


def _measured_fraction(core: str, around: Around) -> Spoken | None:
    """1/4-inch, 1-1/2-inch, 9x13-in."""
    match = _MEASURED.fullmatch(core)
    if not match:
        return None
    whole, _, part = match[1].rpartition("-")
    words = [*numbers.cardinal(int(whole)), "and"] if whole else []
    names = unit_names(match[2])
    top, slash, bottom = part.partition("/")
    if slash and int(bottom):
        spoken = numbers.fraction(int(top), int(bottom))
        words += ["and"] if not whole and around.left.number is not None else []  # 1 1/2-inch
    else:
        found = None if slash else _fraction(part, around) or _pairs(part, around)
        if found is None:
            return None
        spoken = found.words
    return Spoken(words=[*words, *spoken, *(names[0].split() if names else [match[2].lower()])])


def _slashed(core: str, around: Around) -> Spoken | None:
    """A stroke by what it is: a rating, a share of a hundred, a step, a season, a fraction."""
    match = _SLASHED.fullmatch(core)
    if not match:
        return None
    first, second = match[1], match[2]
    if "." in first or int(second) == 0:
        return _rating(first, second, around) if int(second) else None
    top, bottom = int(first), int(second)
    if len(first) == 4 and len(second) == 2 and (top + 1) % 100 == bottom and 1800 <= top < 2100:
        return Spoken(words=[*numbers.year(top), *numbers.cardinal(bottom)])
    if len(first) > 3:
        return None
    if top + bottom == 100 or (top == bottom == 20):
        return Spoken(words=[*numbers.cardinal(top), *numbers.cardinal(bottom)])
    if around.left.lower in _COUNTED and 0 < top <= bottom:
        return Spoken(words=[*numbers.cardinal(top), "of", *numbers.cardinal(bottom)])
    rating = _rating(first, second, around)
    if rating is not None:
        return rating
    and_before = ["and"] if around.left.number is not None and top < bottom else []
    if bottom == 1 or top > bottom * 4 or (bottom > 20 and top > 1):
        return Spoken(words=[*numbers.cardinal(top), "over", *numbers.cardinal(bottom)])
    return Spoken(words=and_before + numbers.fraction(top, bottom))


def _rating(first: str, second: str, around: Around) -> Spoken | None:
    """ "a 9/10", "rated 4.5/5", "3/5 stars" """
    if first == second and second in ("5", "10"):
        return Spoken(words=[*numbers.cardinal(int(first)), "out", "of", *numbers.cardinal(int(second))])
    if second not in ("4", "5", "6", "10", "20", "100") or float(first) > int(second):
        return None
    if around.following().lower() in _MEASURES or detached_unit(around.following(), first) is not None:
        return None
    rated = around.left.lower in ("a", "an", "solid", "perfect") or not _RATED.isdisjoint(around.before.split(" "))
    if not rated and around.following().lower() not in ("stars", "star", "rating"):
        return None
    return Spoken(words=[*numbers.decimal(first), "out", "of", *numbers.cardinal(int(second))])


def _listed(core: str, around: Around) -> Spoken | None:
    """1,2,3 is no number."""
    if not _LIST.fullmatch(core) or _GROUPS_OF_DIGITS.fullmatch(core):
        return None
    return Spoken(words=[word for part in core.split(",") for word in numbers.quantity(part)])


def _thousands(core: str, around: Around) -> Spoken | None:
    """Thousands parted by underscores, apostrophes or blanks: 1_000, 1'000, 1 000 000."""
    if _UNDERSCORED.fullmatch(core):
        return Spoken(words=numbers.cardinal(int(re.sub(r"\D", "", core))))
    if not _FIRST_GROUP.fullmatch(core) or around.left.number is not None:
        return None
    taken = 0
    while taken < 4 and _SPACED_GROUP.fullmatch(around.following(taken + 1)):
        taken += 1
        if not around.goes_on(taken):
            break
    groups = [around.following(count) for count in range(1, taken + 1)]
    if taken < 2 and groups != ["000"]:
        return None
    return Spoken(words=numbers.cardinal(int(core + "".join(groups))), taken=taken)


def _open_amount(core: str, around: Around) -> Spoken | None:
    """ "5+ years" and "$1M+"."""
    match = _OPEN_AMOUNT.fullmatch(core)
    spoken = read_number(match[1], around) if match else None
    return None if spoken is None or spoken.taken else Spoken(words=[*spoken.words, "plus"])


def _dotted(core: str, around: Around) -> Spoken | None:
    if _DOTTED_THOUSANDS.fullmatch(core):
        return Spoken(words=numbers.cardinal(int(core.replace(".", ""))))
    if not _VERSION.fullmatch(core):
        return None
    is_name = core[0] == "V" and core[1:].isdecimal()  # a V8
    words = ["v"] if is_name else ["version"] if core[0] in "vV" else []
    for index, part in enumerate(core.lstrip("vV").split(".")):
        words += (["point"] if index else []) + _group(part)
    return Spoken(words=words)


def _pairs(core: str, around: Around) -> Spoken | None:
    """Ratios, sizes, and heights in feet and inches."""
    match = _RATIO.fullmatch(core)
    if match:
        return Spoken(words=[*numbers.cardinal(int(match[1])), "to", *numbers.cardinal(int(match[2]))])
    power = _power_of_ten(core, around)
    if power is not None:
        return power
    match = _HOURS.fullmatch(core)
    if match and (sum(part is not None for part in match.groups()) > 1 or re.fullmatch(r"\d+h", around.left.core)):
        hours, minutes, seconds = match[1], match[2] or match[4], match[3] or match[5]
        named = ((hours, "hour"), (minutes, "minute"), (seconds, "second"))
        return Spoken(
            words=[
                word
                for amount, unit in named
                if amount is not None
                for word in (*numbers.cardinal(int(amount)), unit if amount == "1" else unit + "s")
            ]
        )
    match = _FEET.fullmatch(core)
    if match:
        return Spoken(words=[*numbers.cardinal(int(match[1])), "foot", *numbers.cardinal(int(match[2]))])
    match = _TIMES.fullmatch(core)
    if not match:
        return None
    sides = [_side(side) for side in match.groups() if side]
    return Spoken(words=[word for index, side in enumerate(sides) for word in (["by"] if index else []) + side])


def _power_of_ten(core: str, around: Around) -> Spoken | None:
    """With a sign, a point or a unit; a capital E alone is a letter of a code, as in "gate 7E2"."""
    match = _EXPONENT.fullmatch(core)
    if not match:
        return None
    sign, mantissa, letter, below, exponent = match.groups()
    sure = sign or below or "." in mantissa or letter == "e"
    if not sure and detached_unit(around.following(), mantissa) is None:
        return None
    words = [*_sign(sign), *numbers.decimal(mantissa), "times", "ten", "to", "the", "power", "of", *_sign(below)]
    return Spoken(words=[*words, *numbers.cardinal(int(exponent))])


def _plain(core: str, around: Around) -> Spoken | None:
    """A bare number; what stands around it says whether it is a day or a year."""
    match = _BARE.fullmatch(core)
    number = canonical(match[2]) if match else None
    if match is None or number is None:
        return None
    if match[1]:
        return Spoken(words=[*_SIGNS[match[1]].split(), *plain_number(number)])
    if number.isdecimal():
        value = int(number)
        if len(number) < 3 and is_day_of_month(value, around):
            return Spoken(words=numbers.ordinal(value))
        if len(match[2]) == 4 and 1100 <= value < 2100 and detached_unit(around.following(), number):
            return Spoken(words=numbers.cardinal(value))
    return Spoken(words=plain_number(number) if match[2].isdecimal() else numbers.decimal(number))


def _plural(core: str, around: Around) -> Spoken | None:
    """50,000s"""
    if not _THOUSANDS_OF.fullmatch(core):
        return None
    words = numbers.quantity(core[:-1])
    return Spoken(words=[*words[:-1], words[-1] + "s"])


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _sign(sign: str) -> list[str]:
    return ["minus"] if sign == "-" else []


def _side(digits: str) -> list[str]:
    """1920 by 1080 is spoken in pairs of digits."""
    return numbers.year(int(digits)) if len(digits) == 4 and digits[2:] != "00" else numbers.cardinal(int(digits))


def _group(digits: str) -> list[str]:
    return numbers.cardinal(int(digits)) if len(digits) < 4 else numbers.digits(digits)


_READERS: tuple[_Reader, ...] = (
    read_telephone,
    read_marked_number,
    read_identifier,
    read_house_number,
    read_calendar,
    _open_amount,
    read_range,
    _listed,
    _thousands,
    read_network_address,
    _ordinal,
    _measured_fraction,
    _fraction,
    _dotted,
    _pairs,
    _plural,
    read_amount,
    _plain,
)
