"""Tokens without letters and digits: rules, bullets, dashes, signs of arithmetic, marks that have names; keys of a
telephone."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.context import STOPS, Around, Left
from engines.text.folding import MINUS
from engines.text.marks import OPERATORS, sign_name
from engines.text.number_tokens import is_plain_number
from engines.text.phones import PauseType
from engines.text.pieces import Reading, Token, made
from engines.text.ranges import agree, range_kind

_RULE = re.compile(r"([-*_=~—])\1{2,}")
_KEYS = {"*": "star", "#": "hash"}
# Codes as networks have them: *67, #31#, *21*5550134#. "#1" is a number, "**1**" and "1*" are emphasis.
_KEY_CODE = re.compile(r"\*\d+(?:\*\d+)*#?|(?:\*\*|##?)\d+(?:\*\d+)*#")
_ASKS_FOR_KEYS = re.compile(r"\b(?:press|dial|push|hit|tap|touch|enter|type)(?:s|es|ed|ing|led|ling|ting|ped|ping)?\b")
_CALLED_KEYS = ("key", "keys", "button", "sign", "symbol")
_QUOTES = "\"'([{)]}"


def read_keys(text: str, token: Token, around: Around) -> list[str] | None:
    """A key or a code of keys where the sentence asks for one: "press # or *", "dial *67". At the start of a line both
    are Markdown."""
    keys = text.strip(_QUOTES).rstrip(STOPS).strip(_QUOTES)
    if token.opens_line or not (keys in _KEYS or _KEY_CODE.fullmatch(keys)):
        return None
    if keys == "*" and around.left.number is not None:  # arithmetic
        return None
    if not _ASKS_FOR_KEYS.search(around.before) and not (keys in _KEYS and around.following().lower() in _CALLED_KEYS):
        return None
    return [word for key in keys for word in ([_KEYS[key]] if key in _KEYS else numbers.digits(key))]


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
