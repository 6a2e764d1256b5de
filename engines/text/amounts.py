"""Numbers with what belongs to them: a sign, a currency, a scale, a unit, a period.

One grammar for all: [sign] [currency] number [scale] [currency or unit] [/period]. Before the noun that it measures
an amount is singular ("a 6-ft fence", "a $2 million house").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from engines.text import numbers
from engines.text.context import Around, Spoken
from engines.text.currencies import BEHIND, SIGN, Currency, currency, is_currency, is_currency_behind, money_number
from engines.text.units import unit_names
from engines.text.units_by_words import glued_by_words
from engines.text.word_lists import word_list

SCALES = frozenset({"thousand", "million", "billion", "trillion", "hundred", "lakh", "crore"})
SCALE_SHORT = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "mm": "million",
    "bn": "billion",
    "b": "billion",
    "t": "trillion",
    "tn": "trillion",
}
_SCALE_TOKENS = frozenset(word_list("bn mn tn B M K m b k"))
COMPARED = {
    "<": "less than",
    ">": "more than",
    "<=": "at most",
    ">=": "at least",
    "≤": "at most",
    "≥": "at least",
}
_SIGN_WORDS = {
    "-": "minus",
    "+": "plus",
    "±": "plus or minus",
    "~": "about",
    "≈": "about",
    **COMPARED,
}
_AMOUNT = re.compile(rf"([-+±~≈<>≤≥]|[<>]=)?({SIGN})?([-+])?(\.?\d(?:[\d.,]*\d)?)(.*)", re.DOTALL)
_SCALE = re.compile(r"(k|mn|mm|m|bn|b|tn|t|-?(?:thousand|million|billion|trillion))(?![a-z])", re.IGNORECASE)
_COUNT = re.compile(r"([-+~<>≈≤≥]?)(\d(?:[\d.,]*\d)?)(k|K|M|B|T|bn|mn|tn)")
_TRAILING = re.compile(rf"({BEHIND})(/[A-Za-z]+)?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})*,\d{3}")
_PERIODS = {
    "hr": "hour",
    "h": "hour",
    "mo": "month",
    "yr": "year",
    "wk": "week",
    "min": "minute",
    "gb": "gigabyte",
    "lb": "pound",
    "oz": "ounce",
    "kg": "kilogram",
    "gal": "gallon",
    "l": "liter",
    "kwh": "kilowatt hour",
    "mi": "mile",
    "km": "kilometer",
    "ft": "foot",
    "mb": "megabyte",
    "y": "year",
    "d": "day",
}
_FUELS = frozenset(word_list("liter litre"))  # priced to a tenth of a cent: €1.899/l
COUNTED = frozenset(
    word_list(
        "views users followers subscribers likes downloads people streams installs stars customers members fans plays "
        "visitors visits requests tokens parameters params words rows records lines steps reads shares comments posts "
        "messages employees accounts dollars euros pounds copies votes listeners players units monthly daily weekly "
        "active new total unique paying registered viewers readers residents voters students workers jobs items orders "
        "tickets calls clicks impressions miles homes"
    )
)
ARTICLES = frozenset(word_list("a an another every each this that the my your his her our their its"))
_NO_NOUN = frozenset(
    word_list(
        "in of and or for to from at on is was that which who we they he she it i you per each more less off than as "
        "by with will would can could are were has have had not if but when while so because after before into over "
        "until under about last this now today too long wide tall deep thick high apart away ago up down plus minus "
        "versus a an the its their his her our my your does did do should may might goes went came comes"
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    sign: tuple[str, ...] = ()
    number: str  # digits with at most one point
    scale: str = ""
    unit: tuple[str, str] | None = None
    money: Currency | None = None
    per: str = ""
    singular: bool = False  # as written: "6-ft"

    @property
    def kind(self) -> tuple[str, str] | None:
        """What ranges compare; None of a bare number."""
        return self.money.names if self.money else self.unit

    @property
    def is_one(self) -> bool:
        return self.number == "1" and not self.scale


def canonical(text: str) -> str | None:
    """Digits with a decimal point from either convention: "1,234.56", "1.234,56", "1,00,000", "12,5"."""
    comma, point = text.rfind(","), text.rfind(".")
    if comma < 0 and point < 0:
        return text
    if comma >= 0 and point >= 0:
        thousands, decimal = (",", ".") if point > comma else (".", ",")
        whole, _, rest = text.rpartition(decimal)
        groups = whole.replace(thousands, ",")
        return f"{groups.replace(',', '')}.{rest}" if decimal not in whole and _GROUPED.fullmatch(groups) else None
    if comma >= 0:
        if _GROUPED.fullmatch(text):
            return text.replace(",", "")
        return text.replace(",", ".") if text.count(",") == 1 and 1 <= len(text) - comma - 1 <= 2 else None
    if text.count(".") == 1:
        return text
    return text.replace(".", "") if _GROUPED.fullmatch(text.replace(".", ",")) and text[0] != "0" else None


def parse_amount(core: str) -> Amount | None:
    """None for what is no amount, or one with something else behind it."""
    match = _AMOUNT.fullmatch(core)
    if match is None:
        return None
    sign, mark, second, digits, tail = match.groups()
    number = canonical(digits)
    if number is None:
        return None
    signs = tuple(word for one in (sign, second) if one for word in _SIGN_WORDS[one].split())
    if not mark:
        trailing = _TRAILING.fullmatch(tail)
        if trailing:
            mark, tail = trailing[1], trailing[2] or ""
    if mark:
        return _money(signs, mark, number, tail)
    if not tail:
        return Amount(sign=signs, number=number)
    joined = tail[0] == "-"
    unit = unit_names(tail[1:] if joined else tail.rstrip("."))
    if unit is None or (joined and not tail[1:].isascii()) or tail in ("-x", "-d", "-in"):
        return None
    return Amount(sign=signs, number=number, unit=unit, singular=joined)


def _money(sign: tuple[str, ...], mark: str, number: str, tail: str) -> Amount | None:
    scale = ""
    found = _SCALE.match(tail)
    if found:
        scale = SCALE_SHORT.get(found[1].lower(), found[1].lower().lstrip("-"))
        tail = tail[found.end() :]
    per = re.fullmatch(r"/([A-Za-z]+)", tail)
    if tail and not per:
        return None
    period = _PERIODS.get(per[1].lower(), per[1].lower()) if per else ""
    money = currency(mark)
    number = number if scale or period in _FUELS else money_number(number, money)
    return Amount(sign=sign, number=number, scale=scale, money=money, per=period)


def spoken(amount: Amount, *, singular: bool = False, bare: list[str] | None = None) -> list[str]:
    """`bare` are the words of the number where the context has a say in them."""
    words, money = list(amount.sign), amount.money
    whole, _, fraction = amount.number.partition(".")
    one = singular or amount.singular
    if money and not amount.scale and len(fraction) == 2 and money.hundredths:
        small = int(fraction)
        small_names = [*numbers.cardinal(small), money.hundredths[0 if one or small == 1 else 1]] if small else []
        if small and not int(whole or "0"):
            words += small_names
        else:
            value = int(whole or "0")
            words += [*numbers.cardinal(value), *money.names[0 if one or value == 1 else 1].split()]
            words += ["and", *small_names] if small else []
    else:
        words += bare or numbers.decimal(amount.number)
        words += [amount.scale] if amount.scale else []
        if amount.kind:
            words += amount.kind[0 if one or amount.is_one else 1].split()
    return words + (["per", *amount.per.split()] if amount.per else [])


def number_words(amount: Amount, *, scale: bool) -> list[str]:
    """Without the unit: the lower end of a range, whose upper end says it."""
    return [*amount.sign, *numbers.decimal(amount.number), *([amount.scale] if scale and amount.scale else [])]


def is_before_noun(around: Around, behind: int) -> bool:
    """Whether the amount stands between an article and its noun, which is the token `behind`."""
    if around.left.lower not in ARTICLES:
        return False
    if behind > 1 and not around.goes_on(behind - 1):
        return False
    return is_noun(around.peek(behind) or "")


def is_noun(token: str) -> bool:
    """Whether a token looks like a noun that an amount may measure."""
    word = token.rstrip(",.;:!?)\"'")
    return word.isalpha() and word.islower() and word not in _NO_NOUN and word not in SCALES and not word.endswith("ed")


def read_amount(core: str, around: Around) -> Spoken | None:
    """Money, and whatever else has a unit; bare numbers are others' work."""
    by_words = glued_by_words(core, around)
    if by_words is not None:
        return Spoken(words=by_words)
    amount = parse_amount(core)
    if amount is None:
        return _count(core, around)
    if amount.money:
        return read_money(amount, around, taken=0)
    if amount.kind is None:
        return _money_behind(amount, around)
    singular = amount.singular or is_before_noun(around, 1)
    return Spoken(words=spoken(amount, singular=singular))


def read_money(amount: Amount, around: Around, *, taken: int) -> Spoken:
    """`taken`: tokens that the amount has used so far."""
    names = amount.money.names if amount.money else ()
    scale = following_scale(amount, around, taken)
    if scale:
        taken += 1
        amount = replace(amount, scale=scale)
        if around.goes_on(taken) and around.following(taken + 1).lower() in names:
            return Spoken(words=number_words(amount, scale=True), taken=taken)  # "$2 billion dollars"
    return Spoken(words=spoken(amount, singular=is_before_noun(around, taken + 1)), taken=taken)


def following_scale(amount: Amount, around: Around, taken: int) -> str:
    """The scale of an amount of money that is a token of its own: $3 million, $1.2 bn."""
    if amount.scale or amount.per or (taken and not around.goes_on(taken)):
        return ""
    following = around.following(taken + 1)
    if following.lower() in SCALES:
        return following.lower()
    return SCALE_SHORT[following.lower()] if following in _SCALE_TOKENS else ""


def _money_behind(amount: Amount, around: Around) -> Spoken | None:
    """ "12,50 €": the currency says what the decimals are."""
    if len(amount.number.partition(".")[2]) not in (2, 3):
        return None
    sign = around.following()
    if not is_currency_behind(sign):
        return None
    money = currency(sign)
    return Spoken(
        words=spoken(Amount(sign=amount.sign, number=money_number(amount.number, money), money=money)), taken=1
    )


def _count(core: str, around: Around) -> Spoken | None:
    """10K views, 1.2M users, 3B parameters; but 4K, 5G and 3B alone are names."""
    match = _COUNT.fullmatch(core)
    number = canonical(match[2]) if match else None
    if match is None or number is None:
        return None
    words = [*_SIGN_WORDS.get(match[1], "").split(), *numbers.decimal(number)]
    letter = match[3]
    if core == "3M" and is_noun(around.following()) and not _is_several(around.following()):  # the company's tape
        return Spoken(words=["three", "m"])
    sure = letter in ("M", "bn", "mn", "tn") or ("." in number and letter != "T")
    if sure or around.following().lower() in COUNTED:
        return Spoken(words=[*words, SCALE_SHORT[letter.lower()]])
    return Spoken(words=[*words, "k"]) if letter in "kK" else None


def _is_several(noun: str) -> bool:
    return noun in COUNTED or noun.endswith("s")


def read_sign(core: str, around: Around) -> Spoken | None:
    """A currency before its amount, a blank between: € 20, USD 5 million, Rs. 500."""
    name = core.rstrip(".")
    if not is_currency(name):
        return None
    amount = parse_amount(around.following())
    if amount is None or amount.kind or amount.sign:
        return None
    money = currency(name)
    return read_money(Amount(number=money_number(amount.number, money), money=money), around, taken=1)
