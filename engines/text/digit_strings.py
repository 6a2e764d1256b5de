"""Digits that are no amount and are read one by one: telephone numbers, cards, network addresses."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.amounts import COUNTED
from engines.text.context import Around, Spoken
from engines.text.word_lists import word_list

_TELEPHONE = re.compile(
    r"(?:\+?\d{1,3}[-.])?\(?\d{3}\)?[-.]?\d{3}[-.]\d{4}|\d{3}[-.]\d{4}|\+\d{7,15}|\+\d{1,3}-\d{2,4}-\d{3,}(?:-\d+)*"
    r"|1-\d{3}-\d{3}-\d{4}|0\d(?:[.-]\d\d){4}|(?!0\d/(?:19|20)\d\d$)0\d{1,4}/\d{4,8}"
)
_LOCAL_NUMBER = re.compile(r"\d{3}[-.]\d{4}")
_AREA_CODE = re.compile(r"\d{3}")
_GROUPED = tuple(
    (re.compile(first), tuple(map(re.compile, then)))
    for first, then in (  # a telephone number's first groups, each a token, and what must follow
        (r"\(?0\d{1,4}\)?", (r"\d{3,8}",)),
        (r"0\d", (r"\d\d", r"\d\d")),
        (r"\(?[2-9]\d\d\)?", (r"\d{3}", r"\d{4}")),
        (r"\d{4}", (r"\d{4}", r"\d{4}")),  # a card
        (r"1", (r"\(?\d{3}\)?", r"\d{3}", r"\d{4}")),
        (r"1[38]00", (r"\d{3}", r"\d{3}")),
        (r"\d{5}", (r"\d{5}",)),
        (r"\(?\d\d\)?", (r"9?\d{4}-?", r"\d{4}")),
        (r"\(?\d\d\)?", (r"9?\d{4}-\d{4}",)),
        (r"1\d\d", (r"\d{4}", r"\d{4}")),
        (r"8", (r"\(?\d{3}\)?", r"\d{3}-\d\d-\d\d")),
        (r"0\d{1,3}-\d{2,3}", (r"\d{2,3}", r"\d\d")),
        (r"[89]\d", (r"\d{3}", r"\d\d", r"\d\d")),
        (r"\+\d{1,3}", (r"(?:\(?0\)?)?\d{1,5}[-.\d]*",)),
    )
)
_NEXT_GROUP = re.compile(r"(?:\(?0\))?\(?\d{2,8}\)?(?:[-.]\d{2,5})*")
_MASKED = re.compile(r"(?:\*{4,}|[xX]{4,})-?(\d{2,6})")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?")
_IPV6 = re.compile(r"(?=.*::|(?:[^:]*:){3})[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:/\d+)?")
_CALLED = re.compile(
    r"(?:^| )(?:call|calling|ring|dial|phone|telephone|tel|mobile|cell|fax|text|whatsapp|hotline)"
    r"(?: (?:us|me|him|her|them|number|no))?(?: (?:on|at|is))?$"
)
_SHORT_GROUP = (re.compile(r"\d{2,4}"),)
_SHORT_NUMBERS = frozenset(word_list("911 112 999 101 111 000 988 211 311 411 511 611 711 811"))
_CALLS = frozenset(word_list("call calls dial dials called calling dialed dialing dialled ring phone text texting"))
_EMERGENCY = frozenset(word_list("call calls caller callers operator operators dispatcher dispatchers emergency"))
_TEXTED_TO = re.compile(r"(?:^| )(?:text|texting|sms|message)(?: [\w-]+){1,3} to$")
_SHORT_CODE = re.compile(r"\d{5,6}")


def read_telephone(core: str, around: Around) -> Spoken | None:
    if core in _SHORT_NUMBERS and _is_called(core, around):
        return Spoken(words=numbers.digits(core))
    if _SHORT_CODE.fullmatch(core) and _TEXTED_TO.search(around.before) and around.following() not in COUNTED:
        return Spoken(words=numbers.digits(core))
    if _TELEPHONE.fullmatch(core) or (around.left.telephone and _goes_on(core, around)):
        plus = ["plus"] if core.startswith("+") else []
        return Spoken(words=plus + numbers.digits(re.sub(r"\D", "", core)), telephone=True)
    called = core.isdecimal() and _CALLED.search(around.before)
    if called and (_follow(around, _SHORT_GROUP) or (len(core) > 4 and around.following() not in COUNTED)):
        return Spoken(words=numbers.digits(core), telephone=True)
    if any(first.fullmatch(core) and _follow(around, then) for first, then in _GROUPED):
        plus = ["plus"] if core.startswith("+") else []
        return Spoken(words=plus + numbers.digits(re.sub(r"\D", "", core)), telephone=True)
    if _AREA_CODE.fullmatch(core) and _LOCAL_NUMBER.fullmatch(around.following()):
        return Spoken(words=numbers.digits(core), telephone=True)
    return None


def _is_called(core: str, around: Around) -> bool:
    """ "dial 911 or 999", "a 911 call" """
    left, before = around.left.lower, around.recent
    if left in _CALLS or (left in ("or", "and", "to") and len(before) > 1 and before[-2] in _SHORT_NUMBERS):
        following = around.following().lower()
        return following not in COUNTED and following not in ("people", "more", "times")
    return core in ("911", "999") and around.following() in _EMERGENCY


def read_masked(text: str) -> list[str] | None:
    """The last digits of a card whose others are starred: ****4321."""
    match = _MASKED.fullmatch(text)
    return numbers.digits(match[1]) if match else None


def _goes_on(core: str, around: Around) -> bool:
    """Whether a group of digits belongs to the telephone number before it; one digit does with a group behind it."""
    if len(core) == 1 and core.isdecimal():
        return re.fullmatch(r"\d{2,4}(?:-\d{4})?", around.following()) is not None
    return _NEXT_GROUP.fullmatch(core) is not None


def _follow(around: Around, patterns: tuple[re.Pattern[str], ...]) -> bool:
    """Asks for no more of what follows than it must."""
    return all(pattern.fullmatch(around.following(count)) for count, pattern in enumerate(patterns, 1))


def read_network_address(core: str, around: Around) -> Spoken | None:
    if _ADDRESS.fullmatch(core):
        words: list[str] = []
        for part in re.findall(r"\d+|[.:]", core):
            words += numbers.cardinal(int(part)) if part.isdecimal() else ["dot" if part == "." else "colon"]
        return Spoken(words=words)
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
    return Spoken(words=words)
