"""Abbreviations: a short form and its neighbours to the words it stands for."""

from __future__ import annotations

import re

from engines.text.abbreviations import ALWAYS, FINAL, INNER, NUMBERED_SHORT, PLACES, TITLES
from engines.text.acronyms import spell
from engines.text.amounts import SCALES
from engines.text.by_neighbours import expand
from engines.text.calendar_tokens import day_name, month_name
from engines.text.context import Around, Left
from engines.text.currencies import currency, is_currency_behind
from engines.text.numbers import ordinal
from engines.text.numerals import LETTERED, is_numeral, read_numeral, roman_value
from engines.text.phones import PauseType
from engines.text.pieces import Reading, closing_kind, made, stopped_short
from engines.text.ranges import name_range
from engines.text.streets import is_drive, is_leading_direction, read_street
from engines.text.units_behind import read_unit
from engines.text.weekdays import is_date, weekday
from engines.text.word_lists import word_list
from engines.text.words import read_words

_DOTTED = re.compile(r"[A-Za-z](?:\.[A-Za-z])+")
_GLUED_SHORT = re.compile(r"(No|Nos|Fig|Vol|Ch|Sec|p|pp|Eq)\.(\d.*)")
_GLUED_NAMES = {"sec": "section", "ch": "chapter"}
_TITLE_PAIR = re.compile(r"([A-Z][a-z]{1,3})\.?/([A-Z][a-z]{1,3})(?:\.?/([A-Z][a-z]{1,3}))?")
_CENTURY = re.compile(r"[XVI]{2,5}")
_SPAN = re.compile(r"([A-Z][a-z]{2,8}\.?)[-–—]([A-Z][a-z]{2,8}\.?)")
_CODED = frozenset(word_list("serial model part account acct order policy invoice tracking flight case lot item ref"))
_SENTENCE_STARTS = frozenset(
    word_list(
        "the a an it he she we they i you but and in this that these there his her its our my if when what on at so"
    )
)


def read_abbreviation(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    low, stopped, left = core.lower(), closing.startswith("."), around.left
    beyond = closing_kind("", closing[1:]) if stopped else kind  # the pause if the full stop is not one
    month = month_name(core, around)
    if month is not None:
        return made([month], beyond, core, 0)
    place = _place(core, closing, kind, around)
    if place is not None:
        return place
    letter = _letter(core, closing, kind, around)
    if letter is not None:
        return letter
    if low in NUMBERED_SHORT and stopped:
        following = around.following()
        coded = left.lower in _CODED and any(one.isdecimal() for one in following)  # "serial no. A1B2"
        if following[:1].isdecimal() or coded or (low in ("no", "nos") and following == "of"):
            return made([NUMBERED_SHORT[low]], None, core, 0)
    unit = None if left.number is None else read_unit(core, closing, kind, around)
    if unit is not None:
        return unit
    if (left.number is not None or left.lower in SCALES) and core.isalpha() and is_currency_behind(core):
        return stopped_short(currency(core).names[left.number != "1"], core, closing, kind, around)
    numbered = _numbered(core, closing, kind, around)
    if numbered is not None:
        return numbered
    if low in ("sr", "jr") and stopped and not left.capitalised:  # before a name, as a title
        return made([FINAL[low]], beyond, core, 0)
    words = expand(core, around) if stopped else None
    if words is not None:
        return (
            stopped_short(words, core, closing, kind, around) if words == "minutes" else made([words], beyond, core, 0)
        )
    day = weekday(core, closing, around)
    if day is not None and closing == "." and not is_date(around.following()):
        return stopped_short(day, core, closing, kind, around)
    day = day or day_name(core, around, stopped=stopped)
    if day is not None and (closing != "." or low not in ("sat", "sun") or around.following()):
        return made([day], beyond, core, 0)
    titles = _TITLE_PAIR.fullmatch(core)
    if titles and all(title.lower() in TITLES for title in titles.groups() if title):
        named = [TITLES[title.lower()] for title in titles.groups() if title]
        return made([*" or ".join(named).split()], beyond, core, 0)
    always = low in ALWAYS and core != "HRs"  # home runs
    if stopped or always or "." in core:
        if low in TITLES and not (low in ("gen", "rep", "col", "fr", "mt") and not core[0].isupper()):
            return made([TITLES[low]], beyond, core, 0)
        if low in INNER:
            return made(list(INNER[low].split()), beyond, core, 0)
        if low in FINAL and not (low in ("co", "max", "est", "ch") and not stopped):
            return stopped_short(FINAL[low], core, closing, kind, around)
    return _initials(core, closing, kind, around)


def _place(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    """Streets; "St" is a saint before a name, and "Dr" a doctor."""
    stopped, low, left = closing.startswith("."), core.lower(), around.left
    street = read_street(core, around)
    if street is not None:
        if closing == "." and is_leading_direction(core, around):
            return made([*street.words], None, core, 0)
        if stopped and core.isalpha():
            return stopped_short(street.words[0], core, closing, kind, around)
        return made([*street.words], kind, core, 0)
    if low not in ("st", "dr") or not (stopped or core == "St" or low in ALWAYS):
        return None
    if low == "dr" and is_drive(closing, around):
        return made(["drive"], (closing_kind("", closing[1:]) if stopped else kind), core, 0)
    named = around.following()[:1].isupper() and (not left.capitalised or low == "dr")
    if low == "st" and not stopped and not named and not left.capitalised:
        return None
    place = PLACES[low] if left.capitalised or left.number else None
    words = place if place and not named else {"st": "saint", "dr": "doctor"}[low]
    ends = words == place and around.following()[:1].isupper()
    beyond = closing_kind("", closing[1:]) if stopped else kind
    return made([words], beyond or (kind if ends or not stopped else None), core, 0)


def _letter(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    """The letter a, and catalogue numbers: "K. 545"."""
    if core == "A":
        initial = _initials(core, closing, kind, around)
        if initial is not None:
            return initial
    if core in ("a", "A") and _names_letter(core, closing, around):
        return made(["_a"], kind, core, 0)
    if core == "K" and closing == "." and around.following()[:1].isdecimal():
        return made(["k"], None, core, 0)
    return None


def _numbered(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    """ "No.5", "XXI century", "Jan.-Mar.", "Elizabeth I" """
    glued = _GLUED_SHORT.fullmatch(core)
    if glued:
        low = glued[1].lower()
        name = _GLUED_NAMES.get(low) or NUMBERED_SHORT.get(low) or INNER[low]
        return made([name, *read_words(glued[2], Left(core=name))], kind, core, 0)
    if _CENTURY.fullmatch(core) and around.following().lower() in ("century", "centuries"):
        value = roman_value(core)
        return None if value is None else made([*ordinal(value)], kind, core, 0)
    numeral = read_numeral(core, closing, around)
    if numeral is not None:
        return made([*numeral], kind, core, 0)
    span = _SPAN.fullmatch(core)
    names = name_range(span[1], span[2]) if span else None
    if names is None:
        return None
    return made([*names], closing_kind("", closing[1:]) if closing.startswith(".") else kind, core, 0)


def _names_letter(core: str, closing: str, around: Around) -> bool:
    """An article stands before a word; before a mark or another capital letter, or alone, it is the letter."""
    if closing:
        return True
    if core == "a" and around.left.core:  # nothing is worth the wait
        return False
    following = around.following()
    if core == "A" and following in ("or", "and", "to", "through", "versus", "vs", "&"):  # "A or B"
        following = around.following(2)
        return len(following) == 1 and following.isupper() and following != "I"
    return not following or (core == "A" and len(following) == 1 and following.isupper() and following != "I")


def _initials(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    if len(core) == 1 and core.isupper() and core.isalpha() and closing == ".":
        if is_numeral(core, around.left) or around.left.lower in LETTERED:
            return None
        following = around.following()
        name = following[:1].isupper() and (
            around.left.starts_sentence or around.left.capitalised or len(following.rstrip(".")) == 1
        )
        return made(list(spell(core)), None, core, 0) if name else None
    if not _DOTTED.fullmatch(core):
        return None
    if closing == ".":
        following = around.following()
        kind = kind if not following or (following[0].isupper() and following.lower() in _SENTENCE_STARTS) else None
    elif closing.startswith("."):
        kind = closing_kind("", closing[1:]) or kind
    return made(list(spell(core.replace(".", ""))), kind, core, 0)
