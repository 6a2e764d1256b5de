"""Lines without Markdown that end with a pause all the same: short headings, and entries behind a line with a colon.

It sees the tokens of a line and whether the line ends; wrapped running text is told by its length and small letters.
"""

from __future__ import annotations

from engines.text.context import CLOSING, OPENING
from engines.text.stars import STARS

_MAX_CHARS = 40  # of a heading or an entry; running text is wrapped later
_MAX_TOKENS = 7
_ENDS_BLOCK = ".!?:"


class Lines:
    """Owned by one stream."""

    def __init__(self) -> None:
        self._begins_block = True  # nothing, an empty line, a whole sentence or a heading stands before this line
        self._listing = False  # entries are expected
        self._start = self._end = self._tokens = 0
        self._capital = False
        self._last = ""

    def saw(self, text: str, start: int, end: int, *, opens_line: bool) -> None:
        """A token; "" of one that is markup alone."""
        if opens_line:
            self._start, self._tokens, self._capital = start, 0, False
        core = text.rstrip(CLOSING + STARS)
        if not core:
            return
        if not self._tokens:
            first = core.lstrip(OPENING)[:1]
            self._capital = first.isupper() or first.isdecimal()
        self._tokens += 1
        self._end, self._last = end, core[-1]

    def end(self) -> tuple[bool, bool]:
        """Whether a pause is due, and whether one is if the next line begins with a capital or a number."""
        short = 0 < self._tokens <= _MAX_TOKENS and self._end - self._start <= _MAX_CHARS and self._last.isalnum()
        heading, entry = self._begins_block and self._capital and short, self._listing and short
        self._begins_block = heading or self._last in _ENDS_BLOCK
        self._listing = self._last == ":" or entry
        self._tokens = 0
        return entry, heading

    def blank(self) -> None:
        self._begins_block, self._listing = True, False


def begins_text(character: str) -> bool:
    """Of a line behind a heading."""
    return character.isupper() or character.isdecimal() or character in '"“*_'
