"""Inches and feet by their marks, 27" and 6', which quotation marks look like."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.amounts import is_noun
from engines.text.context import Around
from engines.text.pieces import Reading, closing_kind, made
from engines.text.units_by_words import is_part_of_one
from engines.text.word_lists import word_list

_INCHES = re.compile(r'[(\[]?((?:\d{1,2}-)?\d{1,2}/[1-9]\d?|\d+(?:[.,]\d+)?)"(?:[x×](\d+(?:[.,]\d+)?)")?([,.;:!?)\]]*)')
_ENDS_IN_INCHES = re.compile(r'\d"[^"\w]*$')
_FEET_ALONE = re.compile(r"(\d{1,3})'([,.;:!?)\]]*)")
_INCHES_BEHIND = re.compile(r'(\d{1,2})"([,.;:!?)\]]*)')
BEHIND_INCHES = frozenset((*word_list("by x wide long tall deep thick high across"), ""))


def quotes(text: str, *, quoted: bool) -> bool:
    """Whether a quotation opens or closes in a token; 27" opens none."""
    return text.count('"') % 2 == 1 and (quoted or not _ENDS_IN_INCHES.search(text))


def read_inches(text: str, around: Around) -> Reading | None:
    """27" and 12"x8", outside quotations; 6' before "tall" and the like; the x in 24" x 36"."""
    if text == "x" and around.left.core.endswith(("in", "ft")) and around.left.kind is not None:
        return made(["by"], None, "", 0)
    if text == "x" and around.left.number is not None and around.following()[:1].isdecimal():
        multiplied = around.following().startswith("10^") or around.peek(2) == "="
        return made(["times" if multiplied else "by"], None, "", 0)
    feet = _FEET_ALONE.fullmatch(text) if "'" in text else None
    if feet is not None:
        return _read_feet(feet[1], feet[2], around)
    match = None if around.quoted or '"' not in text else _INCHES.fullmatch(text)
    if match is None:
        return None
    sides = [_side(side, around) for side in (match[1], match[2]) if side]
    behind = around.peek(1) or ""
    part = is_part_of_one(match[1], around.recent)
    one = part or sides == [["one"]] or (is_noun(behind) and behind != "x") or (len(behind) > 1 and behind.isupper())
    words = [word for at, side in enumerate(sides) for word in (["by", *side] if at else side)]
    kind = closing_kind("", match[3])
    return made([*words, "inch" if part or (one and not match[3]) else "inches"], kind, match[1] + "in", 0)


def _side(written: str, around: Around) -> list[str]:
    """A number or a fraction, which may have a whole number before it: 5/8", 1-1/2", 1 1/2"."""
    whole, _, part = written.rpartition("-")
    top, stroke, bottom = part.partition("/")
    if not stroke:
        return numbers.quantity(written)
    behind = around.left.number is not None and around.left.number.isdecimal()
    first = numbers.cardinal(int(whole)) if whole else []
    return [*first, *(["and"] if whole or behind else []), *numbers.fraction(int(top), int(bottom))]


def _read_feet(digits: str, closing: str, around: Around) -> Reading | None:
    """6' tall, 6' 2", a 9' ceiling, 10' x 12'; None of a number at the end of a quotation."""
    behind, before = around.peek(1) or "", around.recent[-2:]
    feet = numbers.cardinal(int(digits))
    inches = None if closing else _INCHES_BEHIND.fullmatch(behind)
    if inches is not None:
        return made([*feet, "foot", *numbers.cardinal(int(inches[1]))], closing_kind("", inches[2]), digits + "ft", 1)
    second = len(before) == 2 and before[0].isdecimal() and before[1] in ("x", "by")  # 10' x 12'
    noun = not closing and behind not in BEHIND_INCHES and is_noun(behind)
    article = around.left.lower in ("a", "an")
    measures = not closing and behind.rstrip(",.;:!?").lower() in BEHIND_INCHES - {""}
    if not (second or measures or (article and noun)):
        return None
    one = feet == ["one"] or article or noun
    return made([*feet, "foot" if one else "feet"], closing_kind("", closing), digits + "ft", 0)
