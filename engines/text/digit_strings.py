"""Digits that are no amount and are read one by one: telephone numbers, cards, network addresses, identifiers."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import spell
from engines.text.context import Around, Said

_TELEPHONE = re.compile(
    r"(?:\+?\d{1,3}[-.])?\(?\d{3}\)?[-.]?\d{3}[-.]\d{4}|\d{3}[-.]\d{4}|\+\d{7,15}|\+\d{1,3}-\d{2,4}-\d{3,}(?:-\d+)*"
    r"|1-\d{3}-\d{3}-\d{4}"
)
_LOCAL_NUMBER = re.compile(r"\d{3}[-.]\d{4}")
_AREA_CODE = re.compile(r"\d{3}")
_GROUPED = (  # a telephone number's first groups, each a token, and what must follow
    (re.compile(r"\(?0\d{1,4}\)?"), (r"\d{3,8}",)),
    (re.compile(r"0\d"), (r"\d\d", r"\d\d")),
    (re.compile(r"\(?[2-9]\d\d\)?"), (r"\d{3}", r"\d{4}")),
    (re.compile(r"\d{4}"), (r"\d{4}", r"\d{4}")),  # a card
    (re.compile(r"1"), (r"\(?\d{3}\)?", r"\d{3}", r"\d{4}")),
    (re.compile(r"\+\d{1,3}"), (r"(?:\(?0\)?)?\d{1,5}[-.\d]*",)),
)
_NEXT_GROUP = re.compile(r"(?:\(?0\))?\(?\d{2,8}\)?(?:[-.]\d{2,5})*")
_IDENTIFIER = re.compile(r"(?=(?:\D*\d){9})\d+(?:-\d+){2,}")
_HEXADECIMAL = re.compile(r"[0-9a-f]{7,64}")
_BACK_AND_FORTH = re.compile(r"\d[a-f]+\d|[a-f]\d+[a-f]")  # neither a number with a unit nor a word with a number
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?")
_IPV6 = re.compile(r"(?=.*::|(?:[^:]*:){3})[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:/\d+)?")
_SHORT_NUMBERS = frozenset({"911", "112", "411", "999"})


def read_telephone(core: str, around: Around) -> Said | None:
    if core in _SHORT_NUMBERS and around.left.lower in ("call", "dial", "called", "calling", "dialed"):
        return Said(words=numbers.digits(core))
    if _TELEPHONE.fullmatch(core) or (around.left.telephone and _NEXT_GROUP.fullmatch(core)):
        plus = ["plus"] if core.startswith("+") else []
        return Said(words=plus + numbers.digits(re.sub(r"\D", "", core)), telephone=True)
    if any(first.fullmatch(core) and _follow(around, then) for first, then in _GROUPED):
        plus = ["plus"] if core.startswith("+") else []
        return Said(words=plus + numbers.digits(re.sub(r"\D", "", core)), telephone=True)
    if _AREA_CODE.fullmatch(core) and _LOCAL_NUMBER.fullmatch(around.following()):
        return Said(words=numbers.digits(core), telephone=True)
    return None


def _follow(around: Around, patterns: tuple[str, ...]) -> bool:
    """Asks for no more of what follows than it must."""
    return all(re.fullmatch(pattern, around.following(count)) for count, pattern in enumerate(patterns, 1))


def read_identifier(core: str, around: Around) -> Said | None:
    """Long codes, digit by digit and letter by letter."""
    if _IDENTIFIER.fullmatch(core):
        return Said(words=numbers.digits(re.sub(r"\D", "", core)))
    postcode = around.left.lower in ("zip", "code", "zipcode", "postcode") or re.fullmatch("[A-Z]{2}", around.left.core)
    if postcode and re.fullmatch(r"\d{5}", core):
        return Said(words=numbers.digits(core))
    if not (_HEXADECIMAL.fullmatch(core) and _BACK_AND_FORTH.search(core)) and not _UUID.fullmatch(core):
        return None
    return Said(words=[(numbers.digits(one) if one.isdecimal() else spell(one))[0] for one in core if one != "-"])


def read_network_address(core: str, around: Around) -> Said | None:
    if _ADDRESS.fullmatch(core):
        words: list[str] = []
        for part in re.findall(r"\d+|[.:]", core):
            words += numbers.cardinal(int(part)) if part.isdecimal() else ["dot" if part == "." else "colon"]
        return Said(words=words)
    if not _IPV6.fullmatch(core) or not re.search(r"\d", core):
        return None
    words = []
    for mark in core:
        words += (
            [mark.lower().replace("a", "_a")]
            if mark.isalpha()
            else ["colon"]
            if mark == ":"
            else (["slash"] if mark == "/" else numbers.digits(mark))
        )
    return Said(words=words)
