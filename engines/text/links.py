"""What stands behind the text of a Markdown link or image: `](address "title")`. None of it is read.

An address ends at a blank, a title at its quote, so a tail may be several tokens long; brackets in an address count.
Its state depends on the tokens seen alone. What turns out to be no tail is read on as it is written.
"""

from __future__ import annotations

import re
from enum import Enum, auto

_QUOTES = {'"': '"', "'": "'", "(": ")", "“": "”", "‘": "’"}
_MAX_TOKENS = 24  # of a tail that is never closed
_MAX_UNSPACED = 500  # tokens of an address that is cut inside, of a script without spaces
_ADDRESS = re.compile(r"<?(?:https?://|www\.|mailto:|[/#.])\S*")
_LABEL = re.compile(r"\[[^\]\s]{1,40}\]:")


class _At(Enum):
    TEXT = auto()  # outside
    BEFORE = auto()
    ADDRESS = auto()
    ANGLES = auto()  # an address that may hold blanks
    BEHIND = auto()
    TITLE = auto()


class LinkTails:
    """Owned by one stream."""

    def __init__(self, *, as_written: bool = False, mark: str = "") -> None:
        """`as_written`: a label or a tail that was none is given back, for a reader of raw text; `mark` stands where a
        tail was."""
        self._as_written, self._mark = as_written, mark
        self._at = _At.TEXT
        self._depth = 0  # brackets open in the address
        self._quote = ""  # that closes the title
        self._tokens = self._unspaced = 0
        self._tail = ""  # as written up to the token being read
        self._label = ""  # opened the line; nothing of it is read if an address follows

    @property
    def open(self) -> bool:
        return self._at is not _At.TEXT or bool(self._label)

    def end_line(self) -> str:
        """What was held, if it is to be read all the same."""
        held = self._label if self._as_written else ""
        self._at, self._label = _At.TEXT, ""
        return held

    def strip(self, text: str, *, opens_line: bool, ended: bool = True) -> str:
        """What is left of the next token; `ended`: white space stands behind it."""
        if opens_line and _LABEL.fullmatch(text):
            self._label = text
            return ""
        if self._label:
            label, self._label = self._label, ""
            if _ADDRESS.fullmatch(text):
                self._at, self._tokens, self._tail = _At.BEHIND, 0, ""
                return ""
            text = f"{label} {text}" if self._as_written else f"{label}—{text}"
        kept, rest = "", self._go_on(text, ended=ended)
        while (begin := _tail_at(rest)) is not None:
            kept += rest[:begin] + self._mark
            self._at, self._depth, self._tokens, self._unspaced, self._tail = _At.BEFORE, 0, 0, 0, "("
            rest = self._go_on(rest[begin + 2 :], ended=ended)
        return kept + rest

    def _go_on(self, text: str, *, ended: bool) -> str:
        """What follows the tail in this token."""
        if self._at is _At.TEXT:
            return text
        for place, sign in enumerate(text):
            self._at = self._after(sign, text[place + 1 : place + 2])
            if self._at is _At.TEXT and sign != ")" and self._as_written:
                return text if _ADDRESS.match(self._tail, 1) else self._tail + text
            if self._at is _At.TEXT:
                return text[place + (sign == ")") :]
        self._tokens += ended
        self._unspaced += not (ended or text.isascii())
        self._tail += f"{text} " if ended else text
        if ended and self._at is _At.ADDRESS:
            self._at = _At.BEHIND
        if self._tokens > _MAX_TOKENS or self._unspaced > _MAX_UNSPACED:
            self._at = _At.TEXT
        return ""

    def _after(self, sign: str, following: str) -> _At:
        match self._at:
            case _At.BEFORE if sign == "<":
                return _At.ANGLES
            case _At.BEFORE | _At.ADDRESS:
                self._depth += (sign == "(") - (sign == ")")
                return _At.TEXT if self._depth < 0 else _At.ADDRESS
            case _At.ANGLES if sign == ">":
                return _At.BEHIND
            case _At.BEHIND if sign in _QUOTES:
                self._quote = _QUOTES[sign]
                return _At.TITLE
            case _At.BEHIND:
                return _At.TEXT  # closed by its bracket, or no tail at all
            case _At.TITLE if sign == self._quote and following in ("", ")"):
                return _At.BEHIND
        return self._at


def _tail_at(text: str) -> int | None:
    """Where a tail begins; not inside a span of code."""
    place = text.find("](")
    while place >= 0:
        if text.count("`", 0, place) % 2 == 0:
            return place
        place = text.find("](", place + 1)
    return None
