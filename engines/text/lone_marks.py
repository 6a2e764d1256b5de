"""Tokens without letters and digits: rules, bullets, dashes, signs of arithmetic, marks that have names; keys of a
telephone."""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.amounts import COMPARED
from engines.text.context import CLOSING, HALF_DAYS, STOPS, Around, Left
from engines.text.folding import MINUS
from engines.text.marks import OPERATORS, sign_name
from engines.text.number_tokens import is_plain_number
from engines.text.phones import PauseType
from engines.text.pieces import Reading, Token, closing_kind, made
from engines.text.ranges import agree, range_kind
from engines.text.word_lists import word_list

_RULE = re.compile(r"([-*_=~—])\1{2,}")
_MASK = re.compile(r"\*{3,}")
_LAST_DIGITS = re.compile(r"\d{3,5}")
_MAX_GROUPS = 4
_KEYS = {"*": "star", "#": "hash"}
# Codes as networks have them: *67, #31#, *21*5550134#. "#1" is a number, "**1**" and "1*" are emphasis.
_KEY_CODE = re.compile(r"\*\d+(?:\*\d+)*#?|(?:\*\*|##?)\d+(?:\*\d+)*#")
_ASKS_FOR_KEYS = re.compile(r"\b(?:press|dial|push|hit|tap|touch|enter|type)(?:s|es|ed|ing|led|ling|ting|ped|ping)?\b")
_CALLED_KEYS = ("key", "keys", "button", "sign", "symbol")
_USES_CODE = re.compile(r"\b(?:us(?:e|es|ed|ing)|codes?|call(?:s|ed|ing)?)\b")
_QUOTES = "\"'([{)]}"
_ARROWS = ("→", "->", "=>", "⇒")
_VARIABLES = frozenset("nxyz")  # others name plans and vitamins
_ASKED = re.compile(r"(?:^| )(?:what is|what's|whats|how much is|calculate|compute|evaluate) [\d.,]+$")
_RAISED = re.compile(r"[a-z\d]\)\^\d")
_AMOUNT = re.compile(r"[-+.]?[$€£¥]?\.?\d")
_SHARE_OR_PRICE = re.compile(r"[$€£¥]\d|\d[\d.,]*%")
# Behind these a comparison has no "is".
_WANTS_AMOUNT = frozenset(
    word_list(
        "is are was were be been in for with within takes take took has have had at of to only about by from and or if "
        "when needs need uses use used costs cost weighs lasts last requires require gets get got want wants under"
    )
)


def read_keys(text: str, token: Token, around: Around) -> list[str] | None:
    """A key or a code of keys where the sentence asks for one: "press # or *", "dial *67". At the start of a line both
    are Markdown."""
    keys = text.strip(_QUOTES).rstrip(STOPS).strip(_QUOTES)
    if not (keys in _KEYS or _KEY_CODE.fullmatch(keys)):
        return None
    sure = len(keys) > 1 and keys.endswith("#")
    if token.opens_line and not sure:
        return None
    if keys == "*" and around.left.number is not None:  # arithmetic
        return None
    if not (sure or _ASKS_FOR_KEYS.search(around.before) or _is_key(keys, around)):
        return None
    return [word for key in keys for word in ([_KEYS[key]] if key in _KEYS else numbers.digits(key))]


def _is_key(keys: str, around: Around) -> bool:
    """Where what asks for keys is far away: "or # to repeat", "use *67"."""
    if keys not in _KEYS:
        return _USES_CODE.search(around.before) is not None
    following = around.following().lower()
    if following in _CALLED_KEYS:
        return True
    chosen = around.left.paused or around.left.lower == "or"
    return chosen and following in ("to", "for")


def read_marks(text: str, kind: PauseType | None, token: Token, around: Around) -> Reading:
    """A token without letters and digits."""
    left = around.left
    if text == MINUS and (token.opens_line or not _operates(text, left)):
        text = "-"
    masked = None if token.opens_line or not _MASK.fullmatch(text) else _read_masked(text, around)
    if masked is not None:
        return masked
    if _RULE.fullmatch(text):
        return Reading(pieces=[PauseType.PERIOD if token.opens_line else PauseType.PLAIN], taken=0, left=Left())
    compared = _compared(text, token, around)
    if compared is not None:
        return made(list(compared.split()), None, "", 0)
    if (token.opens_line or left.starts_sentence) and text in _ARROWS and around.following():
        return Reading(pieces=[], taken=0, left=left)
    code = text.rstrip(STOPS)
    if code[:1] == code[-1:] == "`" and text[1:2] in tuple("!=<>") and code.strip("`") in OPERATORS:
        name = OPERATORS[code.strip("`")]
        operates = left.number is not None or len(left.core) == 1
        return made(list((name if operates else name.removeprefix("is ").removesuffix(" to")).split()), kind, text, 0)
    if token.opens_line and text.strip("-=*+>#|`") == "":  # bullets, headings, quotes, arrows
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left())
    if text in ("-", "–", "—", "--"):
        words = _between_numbers(text, around)
        if words:
            return made([words], None, "", 0)
        return Reading(pieces=[PauseType.PLAIN], taken=0, left=Left(core=left.core, starts_sentence=False))
    if text == ">" and not token.opens_line and _is_step(around):
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


def _compared(text: str, token: Token, around: Around) -> str | None:
    """A comparison that has no left side: "< 5 minutes", "takes > 90%". A ">" that opens a line quotes it, unless a
    share or a price follows."""
    if text not in COMPARED:
        return None
    left = around.left
    if not (token.opens_line or not left.core or left.paused or left.lower in _WANTS_AMOUNT):
        return None
    if not (token.opens_line or left.core) and not left.starts_sentence:  # behind another sign
        return None
    wanted = _SHARE_OR_PRICE if token.opens_line and text == ">" else _AMOUNT
    return COMPARED[text] if wanted.match(around.following()) else None


def _is_step(around: Around) -> bool:
    """Whether the sign stands between the names of a menu: "Settings > General"."""
    left, following = around.left.core, around.following()
    if not (left[:1].isupper() and following[:1].isupper() and min(len(left), len(following)) > 1):
        return False
    return not (left.isupper() and following.isupper())


def _read_masked(text: str, around: Around) -> Reading | None:
    """The last digits of a card, of which groups are starred: **** **** **** 4321."""
    taken = 1
    while taken < _MAX_GROUPS and around.following(taken) == "" and around.peek(taken) == text:
        taken += 1
    digits = around.following(taken)
    if not _LAST_DIGITS.fullmatch(digits):
        return None
    last = around.peek(taken) or ""
    return made([*numbers.digits(digits)], closing_kind("", last[len(last.rstrip(CLOSING + STOPS)) :]), digits, taken)


def _operates(text: str, left: Left) -> bool:
    """Stars, strokes and carets are arithmetic only after a number or a single letter."""
    return bool(left.core) and (text not in ("*", "/", "^", MINUS) or left.number is not None or len(left.core) == 1)


def _between_numbers(text: str, around: Around) -> str | None:
    left = around.left
    if _subtracts(around):
        return "minus"
    is_half_day = left.lower in HALF_DAYS and len(around.recent) > 1  # "9:00 AM" is two tokens
    kind = range_kind(around.recent[-2]) if is_half_day else left.kind
    if not agree(kind, range_kind(around.following())):
        return None
    if left.number is None or not is_plain_number(around.following()):
        return "to"
    return "minus" if "=" in around.recent or (around.peek(2) or "").startswith("=") else "to"


def _subtracts(around: Around) -> bool:
    """ "x - 3", "3 - x", "what is 5 - 3" """
    left, following = around.left, around.following()
    if len(left.core) == 1 and left.core.islower() and _RAISED.fullmatch(following):  # (a - b)^2
        return True
    if left.core in _VARIABLES:
        return not left.paused and (is_plain_number(following) or following in _VARIABLES)
    if left.number is None:
        return False
    return following in _VARIABLES or (is_plain_number(following) and _ASKED.search(around.before) is not None)
