"""Numbers as words, American style. Pure functions from digits to lists of words."""

from __future__ import annotations

import re

from engines.text.word_lists import word_list

_ONES = word_list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = word_list("_ _ twenty thirty forty fifty sixty seventy eighty ninety")
_SCALES = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
LARGEST = 10**15 - 1


def cardinal(value: int) -> list[str]:
    """Beyond LARGEST the digits are read one by one: quadrillions are no usual word."""
    if value > LARGEST:
        return digits(str(value))
    if value < 20:
        return [_ONES[value]]
    if value < 100:
        tens, ones = divmod(value, 10)
        return [_TENS[tens]] + ([_ONES[ones]] if ones else [])
    if value < 1000:
        hundreds, rest = divmod(value, 100)
        return [_ONES[hundreds], "hundred"] + (cardinal(rest) if rest else [])
    words: list[str] = []
    for power in range(len(_SCALES) - 1, -1, -1):
        group = value // 1000**power % 1000
        if group:
            words += cardinal(group) + ([_SCALES[power]] if power else [])
    return words


def ordinal(value: int) -> list[str]:
    words = cardinal(value)
    return [*words[:-1], _as_ordinal(words[-1])]


def _as_ordinal(word: str) -> str:
    if word in _ORDINALS:
        return _ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"


def digits(text: str) -> list[str]:
    return [_ONES[int(digit)] for digit in text]


def decimal(text: str) -> list[str]:
    """ "3.14" -> three point one four; ".5" -> point five; a plain "3" is a cardinal."""
    whole, _, fraction = text.partition(".")
    words = cardinal(int(whole)) if whole else []
    return words + (["point", *digits(fraction)] if fraction else [])


def quantity(text: str) -> list[str]:
    """A written amount with thousands separators and decimals; a comma before one or two digits is a decimal comma."""
    if re.fullmatch(r"\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    return decimal(text.replace(",", ""))


def fraction(top: int, bottom: int) -> list[str]:
    """1/2 -> one half; 3/4 -> three quarters; 2/3 -> two thirds."""
    last = {2: ["half"], 4: ["quarter"]}.get(bottom) or ordinal(bottom)
    if top != 1:
        last = ["halves"] if bottom == 2 else [*last[:-1], last[-1] + "s"]
    return cardinal(top) + last


def year(value: int) -> list[str]:
    """1984 -> nineteen eighty four; 2005 -> two thousand five; 1900 -> nineteen hundred."""
    century, rest = divmod(value, 100)
    if not 1000 <= value < 10_000 or 2000 <= value < 2010 or (century % 10 == 0 and rest == 0):
        return cardinal(value)
    if rest == 0:
        return [*cardinal(century), "hundred"]
    return cardinal(century) + (["oh", _ONES[rest]] if rest < 10 else cardinal(rest))


def decade(value: int) -> list[str]:
    """1990 -> nineteen nineties; 80 -> eighties; 2000 -> two thousands."""
    words = year(value) if value >= 1000 else cardinal(value)
    last = words[-1]
    return [*words[:-1], last[:-1] + "ies" if last.endswith("y") else last + "s"]
