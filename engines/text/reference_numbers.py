"""What "#" says before and behind a number or a code: "#5", "order #A12-4456", "RMA# 55821". Before a word it is a
hashtag."""

from __future__ import annotations

import re

from engines.text.context import Around, Spoken
from engines.text.identifiers import announces_code, read_identifier, read_named_by_sign, spell_code
from engines.text.words import read_words

_NAMED_BY_SIGN = re.compile(r"#\d[\d.,-]*(?:-[A-Z\d]+)?")
_CODE = re.compile(r"#(?=[A-Z-]{0,12}\d)[A-Z\d]{1,16}(?:-[A-Z\d]{1,16}){0,4}")
_SHORT_HOUSE = re.compile(r"#\d{1,4}[A-Z]")  # Apt #4B
_LONG_NUMBER = re.compile(r"#[A-Z]{1,3}\d{3,}")
_YEAR_TAG = re.compile(r"#[A-Z]+(?:19|20)\d\d")  # an event
_NAME = re.compile(r"[A-Za-z]{2,12}#")
_NUMBERED = re.compile(r"#?(?:\d|[A-Z]{1,4}-?\d)")


def read_reference(marked: str, around: Around) -> Spoken | None:
    """A token that begins with the sign; None where it is no reference."""
    if _NAMED_BY_SIGN.fullmatch(marked):
        named = read_identifier(marked[1:], around) or read_named_by_sign(marked[1:])
        return Spoken(words=["number", *(named.words if named else read_words(marked[1:], around.left))])
    if not _CODE.fullmatch(marked):
        return None
    announced = announces_code(around)
    sure = "-" in marked or _SHORT_HOUSE.fullmatch(marked) or _LONG_NUMBER.fullmatch(marked)
    if not announced and (not sure or _YEAR_TAG.fullmatch(marked)):
        return None
    if _SHORT_HOUSE.fullmatch(marked):
        return Spoken(words=["number", *read_words(marked[1:], around.left)])
    return Spoken(words=["number", *spell_code(marked[1:])])


def read_numbered_name(core: str, around: Around) -> Spoken | None:
    """ "RMA# 55821": a word with the sign behind it, before its number."""
    if not _NAME.fullmatch(core) or not _NUMBERED.match(around.following()):
        return None
    return Spoken(words=[*read_words(core[:-1], around.left), "number"])


def is_number_sign(text: str, around: Around) -> bool:
    """A sign by itself between a name and its number: "Order # 12"."""
    return text in ("#", "#:") and around.left.core[:1].isalpha() and _NUMBERED.match(around.following()) is not None
