"""Marks of Markdown that a line of raw text begins with: fences, headings, bullets, quotes, boxes, tables, rules."""

from __future__ import annotations

import re

from engines.text.markup import FENCE, TABLE_RULE

_BULLETS = frozenset("-*+•‣◦·")
_BOXES = ("[x]", "[X]", "[]")
_RULE = re.compile(r"([-*_=])\1{2,}")
_ORDERED = re.compile(r"\d{1,3}[.)]")
_QUOTED = re.compile(r">+(?=[^\W\d_])")


class LineMarks:
    """Owned by one stream."""

    def __init__(self) -> None:
        self.in_code = False  # its text is read as it is written
        self.opens_line = False  # for the next token: what came before it is markup alone
        self._skips_line = False  # the rest of a fence's line
        self._in_item = False  # the token before was the mark of a list entry
        self._box = False  # an empty box is open
        self._in_row = False  # of a table
        self._rule = ""  # is dropped if nothing follows in its line

    @property
    def open(self) -> bool:
        return self.in_code or self._skips_line or self._in_item or self._box or bool(self._rule)

    def end_line(self) -> None:
        self.opens_line = self._skips_line = self._in_item = self._box = self._in_row = False
        self._rule = ""

    def read(self, text: str, *, opens_line: bool, ended: bool) -> str:
        """What is left of a token; `ended`: white space stands behind it."""
        self.opens_line = False
        if self._skips_line:
            return ""
        if opens_line and ended and FENCE.fullmatch(text):
            self.in_code, self._skips_line = not self.in_code, True
            return ""
        if self.in_code:
            return text
        return self._behind_item(text) if self._in_item or self._box else self._marked(text, opens_line, ended)

    def _behind_item(self, text: str) -> str:
        """A box, or one of the strokes of `- - -`."""
        was_box, self._box, self._in_item = self._box, False, False
        if was_box:
            return "" if text == "]" else f"[ {text}"
        if text == "[":
            self._box = True
            return ""
        self._in_item = text in _BULLETS
        return "" if text in _BOXES or self._in_item else text

    def _marked(self, text: str, opens_line: bool, ended: bool) -> str:
        rule, self._rule = self._rule, ""
        if rule:
            return f"{rule} {text}"
        if TABLE_RULE.fullmatch(text):
            self._in_row = self._in_row or opens_line
            return ""
        if opens_line and ended and self._is_mark(text):
            return ""
        if opens_line:
            self._in_item = ended and _ORDERED.fullmatch(text) is not None
            self._in_row = text[0] == "|"
            quoted = _QUOTED.match(text)
            text = text[quoted.end() :] if quoted else text
        if self._in_row:
            return "" if text.strip("|-:") == "" else text.replace("|", " ")
        return text

    def _is_mark(self, text: str) -> bool:
        if text in _BULLETS:
            self._in_item = True
        elif text.strip(">") == "":
            self.opens_line = True
        elif _RULE.fullmatch(text):
            self._rule = text
        else:
            return text.strip("#") == "" and len(text) < 7
        return True
