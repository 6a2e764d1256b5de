"""One written token to spoken words and pauses.

A reading is a function of the token, what stood before it and the following tokens it asks for. It knows nothing of
when text arrives; `context.NotYet` passes through it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from engines.text import numbers
from engines.text.abbreviated import read_abbreviation
from engines.text.abbreviations import MONTHS, WHOLE
from engines.text.acronyms import spell
from engines.text.addresses import read_address, spell_out
from engines.text.amounts import read_sign
from engines.text.capital_words import read_capital_word
from engines.text.context import CLOSING, OPENING, STOPS, Around, Left, Spoken
from engines.text.digit_strings import read_masked
from engines.text.expressions import read_expression
from engines.text.identifiers import read_letters_code
from engines.text.inches import read_inches
from engines.text.joined_words import read_joined_words
from engines.text.lone_marks import read_keys, read_marks
from engines.text.marks import OPERATORS
from engines.text.number_tokens import read_number
from engines.text.ordinary import read_ordinary
from engines.text.overriding import Override, override
from engines.text.phones import PauseType
from engines.text.pieces import Reading, Token, closing_kind, made, made_of
from engines.text.reference_numbers import is_number_sign, read_numbered_name, read_reference
from engines.text.stars import read_stars
from engines.text.states import STATES, read_party, read_state
from engines.text.tags import AS_WRITTEN
from engines.text.units import detached_unit

_OPTIONAL_PLURAL = re.compile(r"(?<=[A-Za-z]{2})\((e?s|ren)\)(?![A-Za-z\d(])")  # item(s)
_EMOTICON = re.compile(r"[:;=]['-]?[()DPpOo|*\]\[]+")
_UNIT_DASH = re.compile(r"([^\d–—-]{1,8})[-–—](\d\S*)")
_COUNTABLE = re.compile(r"\d{1,3}(?:,\d{3}){0,2}|\d{4,9}")
_ITEM_NUMBER = re.compile(r"\d{1,3}\.")
_SHORT_YEAR = re.compile(r"0\d")  # '08
_AREA_CODE = re.compile(r"\(\d{3}\)")
_GRADE = re.compile(r"[A-F]-")
_FEET_INCHES = re.compile(r"\d{1,2}'\d{1,2}\"")


def read(token: Token, around: Around) -> Reading:
    """An opening bracket makes a pause like the one that a closing bracket makes."""
    if "(" not in token.text:
        return _read(token, around)
    if _OPTIONAL_PLURAL.search(token.text):
        token = replace(token, text=_OPTIONAL_PLURAL.sub(r"\1", token.text))
    reading = _read(token, around)
    left = around.left
    if not token.text.startswith("(") or left.starts_sentence or left.paused or not left.core:
        return reading
    if _AREA_CODE.match(token.text) or not any(isinstance(piece, str | Override) for piece in reading.pieces):
        return reading
    return replace(reading, pieces=[PauseType.PLAIN, *reading.pieces])


def _read(token: Token, around: Around) -> Reading:
    text = token.text
    if token.spoken_as is AS_WRITTEN and not around.dictionaries:
        ordinary = read_ordinary(text, around.left)
        if ordinary is not None:
            return ordinary
    body = text.lstrip(OPENING)
    core = body.rstrip(CLOSING + STOPS)
    closing = body[len(core) :]
    kind = closing_kind(core, closing[1:] if _FEET_INCHES.fullmatch(core + closing[:1]) else closing)
    if closing == "." and core.isdecimal() and _is_day_before_month(core, around):
        kind = None
    elif token.opens_line and _ITEM_NUMBER.fullmatch(text):
        kind = PauseType.PLAIN
    if token.spoken_as.entry is not None:
        return made([Override(entry=token.spoken_as.entry)], kind, core, 0)
    if token.spoken_as.spelled:
        return made([*spell_out(core)], kind, core, 0)
    if token.spoken_as.ordinal and _COUNTABLE.fullmatch(core):
        return made([*numbers.ordinal(int(core.replace(",", "")))], kind, core, 0)
    own = override(core, closing, around)
    if own is not None:
        return made(own.pieces, closing_kind("", own.closing), core, own.taken)
    state = read_state(core, around) if core in STATES else None
    if state is not None:
        return made([*state], kind, core, 0)
    whole = WHOLE.get(text.rstrip(CLOSING + STOPS).lower()) or WHOLE.get((core if "/" in core else text).lower())
    if whole is not None:
        return made(list(whole.split()), kind, core, 0)
    if _EMOTICON.fullmatch(text):
        return Reading(pieces=[], taken=0, left=around.left)
    keys = read_keys(text, token, around)
    if keys is not None:
        return made([*keys], kind or closing_kind("", text[-1]), core, 0)
    sign = read_sign(text, around)
    if sign is not None:
        return made_of(sign, core, kind, around)
    if not token.opens_line and is_number_sign(text, around):
        return made(["number"], None, "#", 0)
    stars = read_stars(core, around)
    if stars is not None:
        return made([*stars], kind, core, 0) if stars else Reading(pieces=[], taken=0, left=around.left)
    if text in OPERATORS or not any(mark.isalnum() for mark in core):
        return read_marks(text, kind, token, around)
    inches = read_inches(text, around)
    if inches is not None:
        return inches
    if _GRADE.fullmatch(core):
        return made([*spell(core[0]), "minus"], kind, core, 0)
    capital = read_capital_word(core, around)
    if capital is not None:
        return made([*capital], kind, core, 0)
    short = read_abbreviation(core, closing, kind, around)
    if short is not None:
        return short
    spoken = _read_spoken(core, text, around)
    if spoken is not None:
        return made_of(spoken, core, None if spoken.telephone and closing == ")" else kind, around)
    balanced = core.count("(") == core.count(")")
    expression = read_expression(core if balanced else text.rstrip(STOPS))
    if expression is not None:
        return made([*expression], kind if balanced else closing_kind("", text[-1]), core, 0)
    return made(read_joined_words(core, around.left), kind, core, 0)


def _is_day_before_month(core: str, around: Around) -> bool:
    """21. November 2026, as some write it."""
    if not 1 <= int(core[:3]) <= 31 or around.following().lower() not in MONTHS:
        return False
    return re.fullmatch(r"\d{4}", around.following(2)) is not None


def _read_spoken(core: str, text: str, around: Around) -> Spoken | None:
    marked = text.lstrip("([{\"'*_`").rstrip(CLOSING + STOPS)  # "#tag", "~5" and "<5" keep their mark
    if text.startswith("'0") and _SHORT_YEAR.fullmatch(core):
        return Spoken(words=["oh", *numbers.cardinal(int(core))] if core != "00" else ["oh", "oh"])
    party = read_party(core) if text.startswith("(") else None
    if party is not None:
        return Spoken(words=party)
    if marked.startswith("#") or core.endswith("#"):
        reference = read_reference(marked, around) or read_numbered_name(core, around)
        if reference is not None:
            return reference
    masked = read_masked(text.lstrip("([{\"'").rstrip(")]}\"'" + STOPS))
    if masked is not None:
        return Spoken(words=masked)
    spoken = read_address(marked) or read_address(core)
    if spoken is not None:
        return Spoken(words=spoken)
    code = read_letters_code(core, around)
    if code is not None:
        return code
    onward = _unit_to_number(core, around)
    if onward is not None:
        return onward
    bracketed = text.startswith("(") and _AREA_CODE.match(text) is not None
    number = read_number(text.rstrip(CLOSING + STOPS) if bracketed and ")" in core else marked, around)
    return number if number is not None or marked == core else read_number(core, around)


def _unit_to_number(core: str, around: Around) -> Spoken | None:
    """The middle of "10 p.m.–2 a.m.": a unit behind its number, a dash, the number of the next."""
    match = _UNIT_DASH.fullmatch(core) if around.left.number is not None else None
    if match is None or around.left.number is None:
        return None
    unit = detached_unit(match[1].rstrip("."), around.left.number)
    number = read_number(match[2], Around(left=Left(core="to"), peek=around.peek)) if unit else None
    if unit is None or number is None:
        return None
    return Spoken(
        words=[*unit[around.left.number != "1"].split(), "to", *number.words], taken=number.taken, rest=match[2]
    )
