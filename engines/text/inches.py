"""Inches and feet by their marks, 27" and 6', which quotation marks look like."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.amounts import is_noun
from engines.text.context import Around
from engines.text.pieces import Reading, closing_kind, made
from engines.text.word_lists import word_list

_INCHES = re.compile(r'[(\[]?(\d+(?:[.,]\d+)?)"(?:[x×](\d+(?:[.,]\d+)?)")?([,.;:!?)\]]*)')
_ENDS_IN_INCHES = re.compile(r'\d"[^"\w]*$')
_FEET_ALONE = re.compile(r"\d{1,3}'")
BEHIND_INCHES = frozenset((*word_list("by x wide long tall deep thick high across"), ""))


def quotes(text: str, *, quoted: bool) -> bool:
    """Whether a quotation opens or closes in a token; 27" opens none."""
    return text.count('"') % 2 == 1 and (quoted or not _ENDS_IN_INCHES.search(text))


def read_inches(text: str, around: Around) -> Reading | None:
    """27" and 12"x8", outside quotations; 6' before "tall" and the like; the x in 24" x 36"."""
    if text == "x" and around.left.core.endswith("in") and around.left.kind is not None:
        return made(["by"], None, "", 0)
    if "'" in text and _FEET_ALONE.fullmatch(text) and around.following().lower() in BEHIND_INCHES - {""}:
        words = numbers.decimal(text[:-1])
        return made([*words, "foot" if words == ["one"] else "feet"], None, text, 0)
    match = None if around.quoted or '"' not in text else _INCHES.fullmatch(text)
    if match is None:
        return None
    sides = [numbers.quantity(side) for side in (match[1], match[2]) if side]
    behind = around.peek(1) or ""
    one = sides == [["one"]] or (is_noun(behind) and behind != "x") or (len(behind) > 1 and behind.isupper())
    words = [word for at, side in enumerate(sides) for word in (["by", *side] if at else side)]
    kind = closing_kind("", match[3])
    return made([*words, "inch" if one and not match[3] else "inches"], kind, match[1] + "in", 0)
