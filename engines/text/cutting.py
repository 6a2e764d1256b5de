"""Cuts arriving text into tokens and breaks, whatever pieces it arrives in.

A token ends at white space or at MAX_TOKEN_CHARS, so that nothing waits for ever; both depend on the text alone. An
empty line, a heading's end and the like are breaks. Markup is taken away here; spans count the text as it came.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from engines.text.context import MAX_TOKEN_CHARS
from engines.text.folding import fold, script_of
from engines.text.line_ends import Lines, begins_text
from engines.text.markup import FOR_THE_EAR, LineEnd, Markup, TextSettings
from engines.text.phones import PauseType
from engines.text.pieces import Token
from engines.text.ssml import HOLD, LONG_S, held_s

_RUNS = re.compile(r"\s+|\S+")
_HARD_BLANK = re.compile(r"&nbsp;|&#160;|&#x[aA]0;|&(?:thin|en|em)sp;")
_CORE = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
_LONG_LINK = re.compile(r"\]\([^)\s]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A pause that the layout asks for; the last token before it ends at `at`."""

    at: int
    kind: PauseType = PauseType.PERIOD
    hold_s: float | None = None  # how long, where the text says so


class Cutter:
    def __init__(self, kept: Container[str] = (), settings: TextSettings = FOR_THE_EAR) -> None:
        """`kept` are words, in small letters, that can be spoken though their letters are of other scripts."""
        self._kept = kept
        self.position = 0  # characters seen
        self.lost: dict[str, None] = {}  # characters that cannot be spoken, in order of appearance
        self.lost_scripts: dict[str, int] = {}  # how many characters of which script were left out
        self._markup = Markup(settings)
        self._rest: list[str] = []  # pieces of a token that is not complete
        self._rest_chars = 0
        self._in_link = False  # inside a link's address that is too long for one token
        self._line_ends = 0  # in the white space just seen
        self._opens_line = True
        self._pause_due = False  # between this line and the next, unless that is empty
        self._heading_due = False  # a pause, if the next line begins like one
        self._lines = Lines()
        self._last_end = 0

    @property
    def warnings(self) -> list[str]:
        """What of the markup could not be followed."""
        return self._markup.tags.told

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
        self._in_link = False
        return self._complete()

    def _complete(self) -> list[Token | Paragraph]:
        if not self._rest:
            return []
        written, end = "".join(self._rest), self.position
        start = end - self._rest_chars
        self._rest, self._rest_chars, self._line_ends = [], 0, 0
        found: list[Token | Paragraph] = []
        first = 0
        for blank in _HARD_BLANK.finditer(written):
            found += self._token(written[first : blank.start()], start + first)
            first = blank.end()
        return found + self._token(written[first:], start + first)

    def _token(self, written: str, start: int) -> list[Token | Paragraph]:
        if not written:
            return []
        opens_line, end = self._opens_line, start + len(written)
        written = written if written.isascii() else HOLD.sub("", written)
        text = self._markup.read(written, opens_line=opens_line)
        self._opens_line = False
        self._last_end = end
        if text.isascii() or not HOLD.search(text):
            return self._spoken(text, start, end, opens_line=opens_line)
        parts = HOLD.split(text)  # text, hold, text, ...
        found = self._spoken(parts[0], start, end, opens_line=opens_line)
        for hold, part in zip(parts[1::2], parts[2::2], strict=True):
            hold_s = held_s(hold)
            kind = PauseType.PERIOD if hold_s >= LONG_S else PauseType.PLAIN
            found.append(Paragraph(at=start if part else end, kind=kind, hold_s=hold_s))
            found += self._spoken(part, start, end, opens_line=False)
        return found

    def _spoken(self, text: str, start: int, end: int, *, opens_line: bool) -> list[Token | Paragraph]:
        """A token without its markup; more than one where folding has made it longer than a token may be."""
        text, lost = self._fold(text)
        if lost and len(self.lost) < MAX_TOKEN_CHARS:
            self.lost.update(dict.fromkeys(lost))
        for one in lost:
            script = script_of(one)
            self.lost_scripts[script] = self.lost_scripts.get(script, 0) + 1
        self._lines.saw(text, start, end, opens_line=opens_line)
        spoken_as = self._markup.tags.spoken_as
        pieces = (text[first : first + MAX_TOKEN_CHARS] for first in range(0, len(text), MAX_TOKEN_CHARS))
        return [
            Token(text=piece, start=start, end=end, opens_line=opens_line and not number, spoken_as=spoken_as)
            for number, piece in enumerate(pieces)
        ]

    def _fold(self, text: str) -> tuple[str, str]:
        folded, lost = fold(text)
        if lost:
            before, core, behind = _CORE.fullmatch(text).groups()  # type: ignore[union-attr]
            if core.lower() in self._kept:
                return fold(before)[0] + core + fold(behind)[0], ""
        return folded, lost

    def _space(self, run: str) -> list[Token | Paragraph]:
        before = self._line_ends
        self._line_ends += run.count("\n")
        if not self._line_ends:
            return []
        self._opens_line = True
        if before == 0:
            ended = self._markup.end_line()
            entry, self._heading_due = self._lines.end()
            self._pause_due = entry or ended is LineEnd.PAUSE
            if ended is LineEnd.FULL_STOP:
                return [Paragraph(at=self._last_end)]
        if before < 2 <= self._line_ends:
            self._pause_due = self._heading_due = False
            self._lines.blank()
            return [Paragraph(at=self._last_end)]
        return []

    def _letters(self, run: str) -> list[Token | Paragraph]:
        found: list[Token | Paragraph] = []
        due = self._pause_due or (self._heading_due and begins_text(run[0]))
        self._pause_due = self._heading_due = False
        if due:
            found.append(Paragraph(at=self._last_end, kind=PauseType.PLAIN))
        while run:
            if self._in_link:
                run = self._skip_address(run)
                continue
            taken = run[: MAX_TOKEN_CHARS - self._rest_chars]
            run = run[len(taken) :]
            self._rest.append(taken)
            self._rest_chars += len(taken)
            self.position += len(taken)
            if self._rest_chars == MAX_TOKEN_CHARS:
                self._in_link = _LONG_LINK.search("".join(self._rest)) is not None
                found += self._complete()
        return found

    def _skip_address(self, run: str) -> str:
        """Up to the bracket that closes the address; what follows is a token of its own."""
        skipped = run.find(")") + 1 or len(run)
        self._in_link = run[skipped - 1] != ")"
        self.position += skipped
        return run[skipped:]
