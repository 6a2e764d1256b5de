"""Tokens without letters and digits: rules, bullets, dashes, signs of arithmetic, marks that have names."""

from __future__ import annotations

import re

from engines.text.context import Around, Left
from engines.text.folding import MINUS
from engines.text.marks import OPERATORS, sign_name
from engines.text.number_tokens import is_plain_number
from engines.text.phones import PauseType
from engines.text.pieces import Reading, Token, made
from engines.text.ranges import agree, range_kind

_RULE = re.compile(r"([-*_=~—])\1{2,}")


def read_marks(text: str, kind: PauseType | None, token: Token, around: Around) -> Reading:
    """A token without letters and digits."""
    left = around.left
    if text == MINUS and (token.opens_line or not _operates(text, left)):
        text = "-"
    if _RULE.fullmatch(text):
        return Reading(pieces=[PauseType.PERIOD if token.opens_line else PauseType.PLAIN], taken=0, left=Left())
    if token.opens_line and text.strip("-=*+>#|`") == "":  # bullets, headings, quotes, arrows
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left())
    if text in ("-", "–", "—", "--"):
        words = _between_numbers(text, around)
        if words:
            return made([words], None, "", 0)
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left(core=left.core, starts_sentence=False))
    if text == "×" and left.core.endswith("in") and left.kind is not None:
        return made(["by"], None, "", 0)
    if text in OPERATORS and not token.opens_line and _operates(text, left) and around.following():
        return made(list(OPERATORS[text].split()), None, "", 0)
    if text == "|":  # between the cells of a table
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left())
    named = [word for mark in text for word in sign_name(mark).split() if mark not in "#<>^*"]
    if named:
        return made(list(named), kind, text, 0)
    return Reading(pieces=[] if kind is None else [kind], taken=0, left=left if kind is None else Left())


def _operates(text: str, left: Left) -> bool:
    """Stars, strokes and carets are arithmetic only after a number or a single letter."""
    return bool(left.core) and (text not in ("*", "/", "^", MINUS) or left.number is not None or len(left.core) == 1)


def _between_numbers(text: str, around: Around) -> str | None:
    left = around.left
    if left.kind is None or not agree(left.kind, range_kind(around.following())):
        return None
    if left.number is None or not is_plain_number(around.following()):
        return "to"
    return "minus" if "=" in around.recent or (around.peek(2) or "").startswith("=") else "to"
