"""Cuts arriving text into tokens and paragraphs, whatever pieces it arrives in.

A token ends at white space or at MAX_TOKEN_CHARS, so that nothing waits for ever; both depend on the text alone. An
empty line is a paragraph.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.text.folding import fold
from engines.text.reading import Token

MAX_TOKEN_CHARS = 120
_RUNS = re.compile(r"\s+|\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """An empty line; the last token before it ends at `at`."""

    at: int


class Cutter:
    def __init__(self) -> None:
        self.position = 0  # characters seen
        self.lost: dict[str, None] = {}  # characters that cannot be spoken, in order of appearance
        self._rest: list[str] = []  # pieces of a token that is not complete
        self._rest_chars = 0
        self._line_ends = 0  # in the white space just seen
        self._opens_line = True
        self._last_end = 0

    def feed(self, text: str) -> list[Token | Paragraph]:
        found: list[Token | Paragraph] = []
        for match in _RUNS.finditer(text):
            run = match.group()
            if run[0].isspace():
                found += self.complete()
                self.position += len(run)
                found += self._space(run)
            else:
                found += self._letters(run)
        return found

    def complete(self) -> list[Token | Paragraph]:
        """What is there of a token, as a token."""
        if not self._rest:
            return []
        text, lost = fold("".join(self._rest))
        if lost and len(self.lost) < MAX_TOKEN_CHARS:
            self.lost.update(dict.fromkeys(lost))
        start = self.position - self._rest_chars
        token = Token(text=text, start=start, end=self.position, opens_line=self._opens_line)
        self._rest, self._rest_chars, self._line_ends, self._opens_line = [], 0, 0, False
        self._last_end = self.position
        return [token]

    def _space(self, run: str) -> list[Token | Paragraph]:
        before = self._line_ends
        self._line_ends += run.count("\n")
        self._opens_line = self._opens_line or self._line_ends > 0
        return [Paragraph(at=self._last_end)] if before < 2 <= self._line_ends else []

    def _letters(self, run: str) -> list[Token | Paragraph]:
        found: list[Token | Paragraph] = []
        while run:
            taken = run[: MAX_TOKEN_CHARS - self._rest_chars]
            run = run[len(taken) :]
            self._rest.append(taken)
            self._rest_chars += len(taken)
            self.position += len(taken)
            if self._rest_chars == MAX_TOKEN_CHARS:
                found += self.complete()
        return found
