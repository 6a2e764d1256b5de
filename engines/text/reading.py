"""One written token to spoken words and pauses.

A reading is a function of the token, what stood before it and the following tokens it asks for. It knows nothing of
when text arrives; `context.NotYet` passes through it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from engines.text import numbers
from engines.text.abbreviations import (
    ALWAYS,
    FINAL,
    INNER,
    MONTHS,
    TITLES,
    WHOLE,
)
from engines.text.acronyms import spell
from engines.text.addresses import read_address, spell_out
from engines.text.amounts import ARTICLES, SCALES, is_before_noun, is_noun, read_sign
from engines.text.calendar_tokens import day_name, month_name
from engines.text.context import CLOSING, OPENING, STOPS, Around, Left, Said
from engines.text.currencies import CODES
from engines.text.expressions import read_expression
from engines.text.identifiers import read_letters_code
from engines.text.marks import OPERATORS, sign_name
from engines.text.number_tokens import is_measurable, is_plain_number, read_number
from engines.text.numbers import ordinal
from engines.text.overriding import Override, override
from engines.text.phones import PauseType
from engines.text.ranges import agree, name_range, range_kind
from engines.text.tags import AS_WRITTEN, SaidAs
from engines.text.units import FIRST_HALVES, detached_unit
from engines.text.word_lists import word_list
from engines.text.words import LETTERED, TIME_ZONES, is_numeral, read_words, roman_value

_KINDS = {".": PauseType.PERIOD, "?": PauseType.QUESTION, "!": PauseType.EXCLAIM}
_PLAIN_STOPS = frozenset(',;:)]}"—')
_RULE = re.compile(r"([-*_=~—])\1{2,}")
_INNER_BREAK = re.compile(
    r"(?<=[A-Za-z'])(\.{2,}|[,;:!?]+|\.(?=[A-Z][a-z]))(?=[A-Za-z'])|—+|--+|\|+|(?<=\d)[,;!?](?=[A-Za-z])"
)
_DOTTED = re.compile(r"[A-Za-z](?:\.[A-Za-z])+")
_EMOTICON = re.compile(r"[:;=]['-]?[()DPpOo|*\]\[]+")
_GLUED_SHORT = re.compile(r"(No|Nos|Fig|Vol|Ch|Sec|p|pp|Eq)\.(\d.*)")
_CENTURY = re.compile(r"[XVI]{2,5}")
_SPAN = re.compile(r"([A-Z][a-z]{2,8}\.?)[-–—]([A-Z][a-z]{2,8}\.?)")
_UNIT_DASH = re.compile(r"([^\d–—-]{1,8})[-–—](\d\S*)")
_INCHES = re.compile(r'[(\[]?(\d+(?:[.,]\d+)?)"(?:[x×](\d+(?:[.,]\d+)?)")?([,.;:!?)\]]*)')
_ENDS_IN_INCHES = re.compile(r'\d"[^"\w]*$')
_FEET_ALONE = re.compile(r"\d{1,3}'")
_GRADE = re.compile(r"[A-F]-")
_FEET_INCHES = re.compile(r"\d{1,2}'\d{1,2}\"")
_BEHIND_INCHES = frozenset((*word_list("by x wide long tall deep thick high across"), ""))
_BY_NEIGHBOURS = {
    "ft": ("fort", True),
    "min": ("minimum", False),
}  # else feet and minutes; before a capital, or a number
_NUMBERED_SHORT = {"no": "number", "nos": "numbers", "p": "page", "est": "established", "apt": "apartment"}
_SENTENCE_STARTS = frozenset(
    word_list(
        "the a an it he she we they i you but and in this that these there his her its our my if when what on at so"
    )
)

Piece = str | PauseType | Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A run without white space, in the characters of `folding`."""

    text: str
    start: int  # characters of the source text
    end: int
    opens_line: bool
    said_as: SaidAs = AS_WRITTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    pieces: list[Piece]
    taken: int  # following tokens read together with this one
    left: Left  # for the next token


def read(token: Token, around: Around) -> Reading:
    text = token.text
    body = text.lstrip(OPENING)
    core = body.rstrip(CLOSING + STOPS)
    closing = body[len(core) :]
    kind = _closing_kind(core, closing[1:] if _FEET_INCHES.fullmatch(core + closing[:1]) else closing)
    if closing == "." and core.isdecimal() and _is_day_before_month(core, around):
        kind = None
    elif token.opens_line and re.fullmatch(r"\d{1,3}\.", text):
        kind = PauseType.PLAIN
    if token.said_as.entry is not None:
        return _reading([Override(entry=token.said_as.entry)], kind, core, 0)
    if token.said_as.spelled:
        return _reading([*spell_out(core)], kind, core, 0)
    own = override(core, closing, around)
    if own is not None:
        return _reading(own.pieces, _closing_kind("", own.closing), core, own.taken)
    whole = WHOLE.get(text.rstrip(CLOSING + STOPS).lower()) or WHOLE.get(text.lower())
    if whole is not None:
        return _reading(list(whole.split()), kind, core, 0)
    if _EMOTICON.fullmatch(text):
        return Reading(pieces=[], taken=0, left=around.left)
    sign = read_sign(text, around)
    if sign is not None:
        return _said(sign, core, kind, around)
    if text in OPERATORS or not any(mark.isalnum() for mark in core):
        return _read_marks(text, kind, token, around)
    inches = _inches(text, around)
    if inches is not None:
        return inches
    if _GRADE.fullmatch(core):
        return _reading([*spell(core[0]), "minus"], kind, core, 0)
    short = _abbreviation(core, closing, kind, around)
    if short is not None:
        return short
    said = _read_said(core, text, around)
    if said is not None:
        return _said(said, core, None if said.telephone and closing == ")" else kind, around)
    balanced = core.count("(") == core.count(")")
    expression = read_expression(core if balanced else text.rstrip(STOPS))
    if expression is not None:
        return _reading([*expression], kind if balanced else _closing_kind("", text[-1]), core, 0)
    return _reading(_broken_words(core, around.left), kind, core, 0)


def quotes(text: str, *, quoted: bool) -> bool:
    """Whether a quotation opens or closes in a token; 27" opens none."""
    return text.count('"') % 2 == 1 and (quoted or not _ENDS_IN_INCHES.search(text))


def _inches(text: str, around: Around) -> Reading | None:
    """27" and 12"x8", outside quotations; 6' before "tall" and the like."""
    if "'" in text and _FEET_ALONE.fullmatch(text) and around.following().lower() in _BEHIND_INCHES - {""}:
        words = numbers.decimal(text[:-1])
        return _reading([*words, "foot" if words == ["one"] else "feet"], None, text, 0)
    match = None if around.quoted or '"' not in text else _INCHES.fullmatch(text)
    if match is None:
        return None
    sides = [numbers.quantity(side) for side in (match[1], match[2]) if side]
    one = sides == [["one"]] or is_noun(around.peek(1) or "")
    words = [word for at, side in enumerate(sides) for word in (["by", *side] if at else side)]
    kind = _closing_kind("", match[3])
    return _reading([*words, "inch" if one and not match[3] else "inches"], kind, match[1] + "in", 0)


def _said(said: Said, core: str, kind: PauseType | None, around: Around) -> Reading:
    """The marks behind the last token taken close the reading."""
    if said.taken:
        last = around.peek(said.taken) or ""
        kind = _closing_kind("", last[len(last.rstrip(CLOSING + STOPS)) :])
    return _reading(list(said.words), kind, said.rest or core, said.taken, telephone=said.telephone)


def _is_day_before_month(core: str, around: Around) -> bool:
    """21. November 2026, as some write it."""
    if not 1 <= int(core[:3]) <= 31 or around.following().lower() not in MONTHS:
        return False
    return re.fullmatch(r"\d{4}", around.following(2)) is not None


def _reading(pieces: list[Piece], kind: PauseType | None, core: str, taken: int, *, telephone: bool = False) -> Reading:
    if kind is not None:
        pieces = [*pieces, kind]
    if kind not in (None, PauseType.PLAIN):
        return Reading(pieces=pieces, taken=taken, left=Left())
    number = core.replace(",", "") if kind is None and is_measurable(core) else None
    left = Left(
        core=core,
        number=number,
        kind=range_kind(core) if kind is None and core else None,
        telephone=telephone and kind is None,
        starts_sentence=False,
    )
    return Reading(pieces=pieces, taken=taken, left=left)


def _closing_kind(core: str, closing: str) -> PauseType | None:
    for mark in closing:
        if mark in _KINDS:
            return _KINDS[mark]
    if any(mark in _PLAIN_STOPS for mark in closing):
        return PauseType.PLAIN
    # A closing quote pauses, as with the teacher; the apostrophe of "dogs'" and "goin'" does not.
    return PauseType.PLAIN if "'" in closing and not core.endswith(("s", "S", "in", "n", "l", "o")) else None


def _read_marks(text: str, kind: PauseType | None, token: Token, around: Around) -> Reading:
    """A token without letters and digits."""
    left = around.left
    if _RULE.fullmatch(text):
        return Reading(pieces=[PauseType.PERIOD if token.opens_line else PauseType.PLAIN], taken=0, left=Left())
    if token.opens_line and text.strip("-=*+>#|`") == "":  # bullets, headings, quotes, arrows
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left())
    if text in ("-", "–", "—", "--"):
        words = _between_numbers(text, around)
        if words:
            return _reading([words], None, "", 0)
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left(core=left.core, starts_sentence=False))
    if text in ("×", "x") and left.core.endswith("in") and left.kind is not None:
        return _reading(["by"], None, "", 0)
    if text in OPERATORS and not token.opens_line and _operates(text, left) and around.following():
        return _reading(list(OPERATORS[text].split()), None, "", 0)
    if text == "|":  # between the cells of a table
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left())
    named = [word for mark in text for word in sign_name(mark).split() if mark not in "#<>^*"]
    if named:
        return _reading(list(named), kind, text, 0)
    return Reading(pieces=[] if kind is None else [kind], taken=0, left=left if kind is None else Left())


def _operates(text: str, left: Left) -> bool:
    """Stars, strokes and carets are arithmetic only after a number or a single letter."""
    return bool(left.core) and (text not in ("*", "/", "^") or left.number is not None or len(left.core) == 1)


def _between_numbers(text: str, around: Around) -> str | None:
    left = around.left
    if left.kind is None or not agree(left.kind, range_kind(around.following())):
        return None
    if left.number is None or not is_plain_number(around.following()):
        return "to"
    return "minus" if "=" in around.recent or (around.peek(2) or "").startswith("=") else "to"


def _abbreviation(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    low, stopped, left = core.lower(), closing.startswith("."), around.left
    beyond = _closing_kind("", closing[1:]) if stopped else kind  # the pause if the full stop is not one
    month = month_name(core, around)
    if month is not None:
        return _reading([month], beyond, core, 0)
    if low in ("st", "dr") and (stopped or core == "St" or low in ALWAYS):
        named = around.following()[:1].isupper() and (not left.capitalised or low == "dr")
        if low == "st" and not stopped and not named and not left.capitalised:
            return None
        place = {"st": "street", "dr": "drive"}[low] if left.capitalised or left.number else None
        words = place if place and not named else {"st": "saint", "dr": "doctor"}[low]
        ends = words == place and around.following()[:1].isupper()
        return _reading([words], beyond or (kind if ends or not stopped else None), core, 0)
    initial = _initials(core, closing, kind, around) if core == "A" else None
    if initial is not None:
        return initial
    if low == "a" and _names_letter(core, closing, around):
        return _reading(["_a"], kind, core, 0)
    if low in _NUMBERED_SHORT and stopped:
        following = around.following()
        if following[:1].isdecimal() or (low in ("no", "nos") and following == "of"):
            return _reading([_NUMBERED_SHORT[low]], None, core, 0)
    unit = None if left.number is None else _unit(core, closing, kind, around)
    if unit is not None:
        return unit
    if (left.number is not None or left.lower in SCALES) and core in CODES and core.isupper():
        return _reading(list(CODES[core].names[left.number != "1"].split()), kind, core, 0)
    glued = _GLUED_SHORT.fullmatch(core)
    if glued:
        low = glued[1].lower()
        name = _NUMBERED_SHORT.get(low) or INNER.get(low) or FINAL[low]
        return _reading([name, *read_words(glued[2], Left(core=name))], kind, core, 0)
    if _CENTURY.fullmatch(core) and around.following().lower() in ("century", "centuries"):
        value = roman_value(core)
        return None if value is None else _reading([*ordinal(value)], kind, core, 0)
    span = _SPAN.fullmatch(core)
    names = name_range(span[1], span[2]) if span else None
    if names is not None:
        return _reading([*names], beyond if stopped else kind, core, 0)
    if low in ("sr", "jr") and stopped and not left.capitalised:  # before a name, as a title
        return _reading([FINAL[low]], beyond, core, 0)
    if low in _BY_NEIGHBOURS and stopped and left.number is None:
        word, before_capital = _BY_NEIGHBOURS[low]
        following = around.following()
        if (core.istitle() and following[:1].isupper()) if before_capital else following[:1].isdecimal():
            return _reading([word], beyond, core, 0)
    day = day_name(core, stopped=stopped)
    if day is not None and (closing != "." or low not in ("sat", "sun") or around.following()):
        return _reading([day], beyond, core, 0)
    if stopped or low in ALWAYS or "." in core:
        if low in TITLES and not (low in ("gen", "rep", "col", "fr", "mt") and not core[0].isupper()):
            return _reading([TITLES[low]], beyond, core, 0)
        if low in INNER:
            return _reading(list(INNER[low].split()), beyond, core, 0)
        if low in FINAL and not (low in ("co", "max", "est", "ch") and not stopped):
            return _stopped(FINAL[low], core, closing, kind, around)
    return _initials(core, closing, kind, around)


def _names_letter(core: str, closing: str, around: Around) -> bool:
    """An article stands before a word; before a mark or another capital letter, or alone, it is the letter."""
    if closing:
        return True
    if core == "a" and around.left.core:  # nothing is worth the wait
        return False
    following = around.following()
    return not following or (core == "A" and len(following) == 1 and following.isupper() and following != "I")


def _unit(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    """A unit behind its number."""
    left = around.left
    assert left.number is not None
    if core in FIRST_HALVES and closing in ("", "."):
        pair = FIRST_HALVES[core].get(around.following())
        if pair is not None:
            last = around.peek(1) or ""
            one = left.number == "1" or _measures_noun(around, 2)
            behind = _closing_kind("", last[len(last.rstrip(CLOSING + STOPS)) :])
            return _reading(list(pair[not one].split()), behind, core, 1)
    if core == "in" and (closing or around.following().lower() in _BEHIND_INCHES):
        names: tuple[str, str] | None = ("inch", "inches")
    else:
        names = detached_unit(core, left.number)
    if names is None:
        return None
    one = left.number == "1" or (not closing and _measures_noun(around, 1))
    said = _stopped(names[not one], core, closing, kind, around)
    if not said.left.core:
        return said
    return replace(said, left=replace(said.left, kind=range_kind(left.number + core)))


def _measures_noun(around: Around, behind: int) -> bool:
    """ "a 6 ft fence" """
    if len(around.recent) < 2 or around.recent[-2].lower() not in ARTICLES:
        return False
    return is_before_noun(Around(left=Left(core=around.recent[-2]), peek=around.peek), behind)


def _stopped(words: str, core: str, closing: str, kind: PauseType | None, around: Around) -> Reading:
    """The full stop belongs to the abbreviation, unless a capital or nothing follows."""
    if closing == ".":
        following = around.following()
        kind = kind if not following or (following[0].isupper() and following not in TIME_ZONES) else None
    elif closing.startswith("."):
        kind = _closing_kind("", closing[1:]) or kind
    return _reading(list(words.split()), kind, core, 0)


def _initials(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    if len(core) == 1 and core.isupper() and core.isalpha() and closing == ".":
        if is_numeral(core, around.left) or around.left.lower in LETTERED:
            return None
        following = around.following()
        name = following[:1].isupper() and (
            around.left.starts_sentence or around.left.capitalised or len(following.rstrip(".")) == 1
        )
        return _reading(list(spell(core)), None, core, 0) if name else None
    if not _DOTTED.fullmatch(core):
        return None
    if closing == ".":
        following = around.following()
        kind = kind if not following or (following[0].isupper() and following.lower() in _SENTENCE_STARTS) else None
    elif closing.startswith("."):
        kind = _closing_kind("", closing[1:]) or kind
    return _reading(list(spell(core.replace(".", ""))), kind, core, 0)


def _read_said(core: str, text: str, around: Around) -> Said | None:
    marked = text.lstrip("([{\"'*_`").rstrip(CLOSING + STOPS)  # "#tag", "~5" and "<5" keep their mark
    if re.fullmatch(r"#\d[\d.,]*", marked):
        return Said(words=["number", *read_words(marked[1:], around.left)])
    said = read_address(marked) or read_address(core)
    if said is not None:
        return Said(words=said)
    code = read_letters_code(core, around)
    if code is not None:
        return code
    onward = _unit_to_number(core, around)
    if onward is not None:
        return onward
    bracketed = re.fullmatch(r"\(\d{3}\).*", text) is not None
    number = read_number(text.rstrip(CLOSING + STOPS) if bracketed and ")" in core else marked, around)
    return number if number is not None or marked == core else read_number(core, around)


def _unit_to_number(core: str, around: Around) -> Said | None:
    """The middle of "10 p.m.–2 a.m.": a unit behind its number, a dash, the number of the next."""
    match = _UNIT_DASH.fullmatch(core) if around.left.number is not None else None
    if match is None or around.left.number is None:
        return None
    unit = detached_unit(match[1].rstrip("."), around.left.number)
    number = read_number(match[2], Around(left=Left(core="to"), peek=around.peek)) if unit else None
    if unit is None or number is None:
        return None
    return Said(
        words=[*unit[around.left.number != "1"].split(), "to", *number.words], taken=number.taken, rest=match[2]
    )


def _broken_words(core: str, left: Left) -> list[Piece]:
    """Words with the pauses inside the token: "yes—no", "end.Next"."""
    pieces: list[Piece] = []
    start = 0
    for match in _INNER_BREAK.finditer(core):
        pieces += _expression(core[start : match.start()], left)
        pieces.append(_closing_kind("", match.group()) or PauseType.PLAIN)
        start, left = match.end(), Left(core="-", starts_sentence=False)
    return [*pieces, *_expression(core[start:], left)]


def _expression(text: str, left: Left) -> list[str]:
    """ "2+2=4" is arithmetic; anything else is words."""
    parts = re.split(r"([+*×÷=]|\^\+?|[<>!=]=|[<>]|(?<=\d)/(?=\d))", text)
    operand = r"-?\d+(?:\.\d+)?|[A-Za-z]{1,2}|" if "^" in text else r"-?\d+(?:\.\d+)?|[A-Za-z]|"
    if len(parts) < 3 or not all(re.fullmatch(operand, part) for part in parts[::2]):
        return read_words(text, left)
    words: list[str] = []
    for index, part in enumerate(parts):
        if index % 2:
            words += OPERATORS[part[0] if part[0] == "^" else part].split()
        elif part:
            words += ["minus"] if part[0] == "-" else []
            words += spell(part) if part.isalpha() else read_words(part.lstrip("-"), left)
    return words
