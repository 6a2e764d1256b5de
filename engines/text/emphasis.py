"""Markdown's marks in raw text: emphasis, spans of code, escaped marks. A mark that may mean something else stays.

Stars and strokes open at the beginning of a word and close behind one, so `5 * 3`, `f***`, `*67` and `snake_case` keep
theirs. State depends on the text up to a token and on the character behind it.
"""

from __future__ import annotations

import re

_MARKS = re.compile(r"\\([*_#`\[\]()$~|>+!-])|(\*+|_+|~~|(?<!=)==(?!=)|`+)")
_BEGINS_LONE = "\"'“‘(*_~`¿¡"  # besides letters, what a lone mark may stand before
# Characters, for a regular expression, of scripts whose words may be unspaced; not the brackets 【】.
UNSPACED = "\u0590-\u1dff\u2e80-\u300f\u3012-\U0010ffff"
_UNSPACED = re.compile(f"[{UNSPACED}]")


class Emphasis:
    """Owned by one stream."""

    def __init__(self) -> None:
        self._open = set[str]()
        self._in_code = False  # inside a span of code

    def end_line(self) -> None:
        self._in_code = False

    def end_paragraph(self) -> None:
        self._open.clear()

    def strip(self, text: str, before: str, behind: str) -> str:
        """What is left of a token; `before` and `behind` are the characters around it, "" of white space."""

        def left(found: re.Match[str]) -> str:
            if found[1]:
                return found[0] if self._in_code else found[1]
            marks = found[2]
            if marks[0] == "`":
                self._in_code = not self._in_code
                return ""
            if self._in_code:
                return marks
            previous = text[found.start() - 1] if found.start() else before
            following = text[found.end() : found.end() + 1] or behind
            return "" if self._closes(marks, previous, following) or self._opens(marks, previous, following) else marks

        return _MARKS.sub(left, text)

    def _closes(self, marks: str, previous: str, following: str) -> bool:
        if not previous or (marks[0] == "_" and _in_word(following)):
            return False
        closed = {marks} if marks in self._open else {marks[0], marks[:2]} if len(marks) == 3 else set()
        if not closed or not closed <= self._open:
            return False
        self._open -= closed
        return True

    def _opens(self, marks: str, previous: str, following: str) -> bool:
        if not following or _in_word(previous) or len(marks) > 3:
            return False
        if len(marks) == 1 and not (following.isalpha() or following in _BEGINS_LONE):
            return False
        self._open.add(marks)
        return True


def _in_word(character: str) -> bool:
    return character.isalnum() and not _UNSPACED.match(character)
