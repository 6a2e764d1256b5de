"""Raw text without what is not for the ear, for models that read letters: a stage before their tokens.

Reasoning, tags, directions, comments, citations, Markdown's marks and the addresses of links go, LaTeX becomes signs;
all else comes out character by character as it came, in any script. What goes is found as for phones (`markup`), token
by token, so pieces of any size give the same text. Held back are only a token until its white space, or until a script
without spaces goes on, and a tag, a direction or a link's text that is not closed.
"""

from __future__ import annotations

import html
import re

from engines.text.comments import Comments
from engines.text.context import MAX_TOKEN_CHARS
from engines.text.directions import Directions
from engines.text.dropped_tags import DroppedTags
from engines.text.emphasis import UNSPACED, Emphasis
from engines.text.link_texts import TAIL, LinkTexts
from engines.text.links import LinkTails
from engines.text.markup import (
    BLOCK_END,
    ENTITY,
    FOR_THE_EAR,
    LINKED_CITATION,
    REFERENCE,
    TextSettings,
    plain_formula,
    without_inner_marks,
)
from engines.text.plain_lines import LineMarks

_RUNS = re.compile(r"\s+|\S+")
_PARTS = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")
_UNSPACED = re.compile(f"[{UNSPACED}]")
# Brackets of East Asian text hold more than the citations of a language model.
_CITATION = re.compile(r"(?<=[\w.,;:!?\")'])\[\^?[1-9]\d{0,2}\](?!\()|\[\^[\w-]+\]:?")
_MODEL_CITATION = re.compile(r"【[\d:]+†[^】\s]*】")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")


class PlainText:
    """Owned by one stream."""

    def __init__(self, settings: TextSettings = FOR_THE_EAR) -> None:
        self._tags = DroppedTags(settings)
        self._directions = Directions(as_written=True) if settings.skip_directions else None
        self._links = LinkTails(as_written=True, mark=TAIL)
        self._comments, self._emphasis, self._lines = Comments(), Emphasis(), LineMarks()
        self._link_texts = LinkTexts()
        self._rest = ""  # of a token that is not complete
        self._before = ""  # the character before it, "" of white space
        self._opens_line = True
        self._line_ends = 0  # in the white space just seen
        self._gap = ""  # white space given out behind the last text
        self._dropped = False  # a token behind it

    @property
    def warnings(self) -> list[str]:
        """What of the markup has no effect, or no end."""
        return self._tags.told

    @property
    def holds_text(self) -> bool:
        """Whether something came that is not given out and may be yet."""
        directed = self._directions is not None and self._directions.open
        return bool(self._link_texts.held or directed or (self._rest and not self._tags.skipping))

    def feed(self, text: str) -> str:
        """More text; returns what of it is sure."""
        found = []
        for run in _RUNS.findall(text):
            found.append(self._complete("") + self._space(run) if run[0].isspace() else self._letters(run))
        return "".join(found)

    def close(self) -> str:
        """What is there, as if the text ended here; more may follow."""
        return self._complete("") + self._give_up()

    # -- tokens ----------------------------------------------------------------------------------------------------

    def _letters(self, run: str) -> str:
        found = ""
        for part in _PARTS.findall(run):
            unspaced = _UNSPACED.match(part) is not None
            while part:
                if self._rest and (unspaced or len(self._rest) == MAX_TOKEN_CHARS):
                    found += self._complete(part[0])
                room = MAX_TOKEN_CHARS - len(self._rest)
                self._rest, part = self._rest + part[:room], part[room:]
            if unspaced:  # what follows says nothing about it
                found += self._complete(self._rest)
        return found

    def _complete(self, behind: str) -> str:
        """What is there of a token, as a token; `behind` it stands this character, or white space."""
        written, self._rest = self._rest, ""
        if not written:
            return ""
        before, self._before = self._before, written[-1]
        opens_line, self._opens_line = self._opens_line, False
        self._line_ends = 0
        return self._put(self._read(written.replace(TAIL, ""), before, behind, opens_line=opens_line), before, behind)

    def _read(self, text: str, before: str, behind: str, *, opens_line: bool) -> str:
        """What is left of a token to read; nothing, when it is markup alone."""
        glued = bool(before)
        if self._tags.skipping:
            text = self._tags.read(text, glued=glued)
            if not text:
                return ""
        if text.isalnum() and not (self._lines.open or self._inside_something):
            return text
        left = self._lines.read(text, opens_line=opens_line, ended=not behind)
        self._opens_line = self._lines.opens_line
        if not left or self._lines.in_code:
            return left
        if self._directions is not None:
            left = self._directions.read(left, glued=glued)
        left = self._comments.strip(LINKED_CITATION.sub("", left))
        left = self._links.strip(left, opens_line=opens_line, ended=not behind)
        if "`" in left:
            return self._emphasis.strip(self._tags.read(left, glued=glued), before, behind)
        left = self._tags.read(BLOCK_END.sub("\n", _AUTOLINK.sub(r"\1", left)), glued=glued)
        left = ENTITY.sub(lambda found: html.unescape(found.group()), plain_formula(left))
        left = REFERENCE.sub(TAIL, _CITATION.sub("", _MODEL_CITATION.sub("", left)))
        return self._emphasis.strip(without_inner_marks(left), before, behind)

    @property
    def _inside_something(self) -> bool:
        directed = self._directions is not None and self._directions.open
        return self._tags.open or directed or self._links.open or self._comments.open

    # -- out -------------------------------------------------------------------------------------------------------

    def _put(self, text: str, before: str, behind: str) -> str:
        """What is left of a token, behind the white space that was given out."""
        text = text if before else text.lstrip(" ")
        text = text if behind else text.rstrip(" ")
        if not text.strip():
            self._dropped = True
            if "\n" not in text or "\n" in self._gap:
                return ""
        else:
            self._gap, self._dropped = "", False
        return self._link_texts.add(text)

    def _space(self, run: str) -> str:
        """As it came; of white space around what was dropped, the longer pause alone."""
        self._before, found = "", ""
        for one in run:
            if one == "\n":
                self._line_ends += 1
                if self._line_ends == 1:
                    found += self._end_line()
                elif self._line_ends == 2:
                    self._emphasis.end_paragraph()
            more = one == "\n" and self._line_ends > self._gap.count("\n")
            if self._tags.skipping or self._tags.is_cut or self._comments.open or self._links.open:
                continue
            if more or not (self._dropped and self._gap):
                self._gap = (self._gap + one)[-8:]
                found += self._link_texts.add(one)
        return found

    def _end_line(self) -> str:
        found = self._give_up()
        self._emphasis.end_line()
        self._lines.end_line()
        self._opens_line = True
        return found

    def _give_up(self) -> str:
        """What was held and is no markup."""
        directed = "" if self._directions is None else self._directions.end_line()
        held = self._emphasis.strip(directed or self._links.end_line(), "", "")
        return (self._put(held, "", "") if held else "") + self._link_texts.release()
