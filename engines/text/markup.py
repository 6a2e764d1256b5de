"""What stands around words in Markdown and HTML: fences, headings, lists, tables, links, tags, entities, citations.

It sees the tokens of a text in order, as they were written, and says what is left to read of each. Its state depends
on those tokens alone. Code is read like text, a pause at the end of each line; the name of its language is not spoken.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from enum import Enum, auto

from engines.text.comments import Comments
from engines.text.directions import Directions
from engines.text.links import LinkTails
from engines.text.tags import AS_WRITTEN, Tags
from engines.text.word_lists import word_list

BLOCK_END = re.compile(r"(?:<br\s*/?>|</(?:p|div|li|tr|td|th|h[1-6]|dt|dd|blockquote)>)+", re.IGNORECASE)
_BLOCK_END = re.compile(r"(?<![.,;:!?\s])" + BLOCK_END.pattern, re.IGNORECASE)
ENTITY = re.compile(r"&(?:#\d{1,6}|#[xX][0-9A-Fa-f]{1,5}|[A-Za-z]{2,30}\d{0,2});")
REFERENCE = re.compile(r"\]\[[^\]\s]*\](?=\W|$)")
_CITATION = re.compile(r"(?<=[\w.,;:!?\")'])\[\^?[1-9]\d{0,2}\](?!\()|\[\^[\w-]+\]:?|【[^】]*】")
LINKED_CITATION = re.compile(r"(?<=[\w.,;:!?\")'])\[\^?[1-9]\d{0,2}(?=\]\()")
# Emphasis inside a word, which is spoken as one. A lone star between letters may be a sign of multiplication, and a
# longer beginning is a word whose blank was forgotten.
IN_WORD = re.compile(
    r"(?<![\w*])(\*{1,3})([A-Za-z]{1,3})\1(?=[A-Za-z])"
    r"|(?<=[A-Za-z])(\*{2,3})([A-Za-z]+)\3"
    r"|(?<=[A-Za-z])(\*)([A-Za-z]+)\5(?!\w)"
)
_POWER = re.compile(r"(?<![\w*])(\w|\d+)\*\*(\w|\d+)(?![\w*])")
_HIGHLIGHT = re.compile(r"(?<![\w=])==(?=\w)|(?<=[\w.,;:!?])==(?![\w=])")
_RAISED = re.compile(r"(?<=\w)\^(\w+)\^")
FENCE = re.compile(r"(?:`{3,}|~{3,})[^`~]*")
TABLE_RULE = re.compile(r"\|?:?-+:?(?:\|:?-*:?)+")
_ITEM = re.compile(r"[-*+•‣◦·]|\(?(?:\d{1,3}[.)]|[A-Za-z]\))")
_ESCAPED = re.compile(r"\\([*_#`\[\]()$~|>+!-])")
_MONEY = "".join(rf"(?<!\b{country})" for country in word_list("US CA AU NZ HK NT R"))  # R$ 30
_FORMULA = re.compile(
    r"^\${1,2}(?=[A-Za-z\\].*[$])(.*?)\${1,2}((?:-\w+)?[.,;:!?)]*)$"
    rf"|^\$\$|(?<=[A-Za-z\])}}]){_MONEY}\$(?=[.,;:!?)]*$)|\$\$(?=[.,;:!?)]*$)"
)
_INNER_FORMULA = re.compile(r"^\$(?=[A-Za-z]?[\^_\\]|[A-Za-z]$)|(?<=[\^_][A-Za-z0-9])\$(?=[.,;:!?)]*$)")
_FRACTION = re.compile(r"\\d?frac\{([^{}]+)\}\{([^{}]+)\}")
_COMMAND = re.compile(r"(?<![\w:\\])\\([A-Za-z]{2,9})\b")
_COMMANDS = dict(
    zip(
        word_list(
            "times cdot div pm le leq ge geq ne neq approx infty to rightarrow sqrt sum int in deg left right text "
            "mathrm"
        ),
        ("×", "×", "÷", "±", "≤", "≤", "≥", "≥", "≠", "≠", "≈", "∞", "→", "→", "√", "∑", "∫", "∈", "°", "", "", "", ""),
        strict=True,
    )
)
_BOX = {"[x]": "checked", "[X]": "checked", "[": "", "[]": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """What of a text is not for the ear."""

    skip_reasoning: bool = True  # <think>, <thinking> and <reasoning> with all that they hold
    skip_directions: bool = True  # [laughs], *sighs*
    follow_tags: bool = True  # SSML and [pause:300ms]; else tags are dropped


FOR_THE_EAR = TextSettings()


class LineEnd(Enum):
    """What the end of a line means for the words before it."""

    NOTHING = auto()  # lines of running text
    PAUSE = auto()  # an entry of a list, a row of a table, a line of code
    FULL_STOP = auto()  # a heading


class Markup:
    """Owned by one stream."""

    def __init__(self, settings: TextSettings) -> None:
        self._in_code = False
        self.tags = Tags(skips_reasoning=settings.skip_reasoning, follows=settings.follow_tags)
        self._directions = Directions() if settings.skip_directions else None
        self._links = LinkTails()
        self._comments = Comments()
        self._in_item = False  # the token before was the mark of a list entry
        self._skips_line = False  # the rest of a fence's line
        self._line_end = LineEnd.NOTHING

    def end_line(self) -> LineEnd:
        ended, self._line_end = self._line_end, LineEnd.NOTHING
        self._skips_line = False
        self._links.end_line()
        if self._directions is not None:
            self._directions.end_line()
        return LineEnd.PAUSE if self._in_code else ended

    def read(self, text: str, *, opens_line: bool) -> str:
        """What is left of a token to read; nothing, when it is markup alone."""
        self.tags.spoken_as = AS_WRITTEN
        if self.tags.skipping:
            text = self.tags.read(text)
            if not text:
                return ""
        if text.isalpha() and not (opens_line or self._inside_something):
            self._in_item = False
            return text
        if opens_line:
            self._skips_line = False
            if self._fence(text):
                return ""
            self._line_end = _line_end(text)
        if self._skips_line:
            return ""
        after_item, self._in_item = self._in_item, opens_line and _ITEM.fullmatch(text) is not None
        if self._in_code:
            return text
        if after_item and text in _BOX:
            self._in_item = text == "["
            return _BOX[text]
        if text == "]" or TABLE_RULE.fullmatch(text):
            return ""
        if self._directions is not None:
            text = self._directions.read(text)
        text = self._comments.strip(LINKED_CITATION.sub("", text))
        text = self._links.strip(text, opens_line=opens_line)
        if "`" in text:
            return self.tags.read(text)
        text = self.tags.read(_BLOCK_END.sub("—", text))
        text = _emphasised(_ESCAPED.sub(r"\1", plain_formula(text)))
        text = ENTITY.sub(lambda match: html.unescape(match.group()), text)
        return REFERENCE.sub("", _CITATION.sub("", text))

    @property
    def _inside_something(self) -> bool:
        directed = self._directions is not None and self._directions.open
        return self.tags.open or directed or self._skips_line or self._links.open or self._comments.open

    def _fence(self, text: str) -> bool:
        if not FENCE.fullmatch(text):
            return False
        self._in_code = not self._in_code
        self._skips_line, self._line_end = True, LineEnd.PAUSE
        return True


def _line_end(text: str) -> LineEnd:
    if text.strip("#") == "" and len(text) < 7:
        return LineEnd.FULL_STOP
    return LineEnd.PAUSE if _ITEM.fullmatch(text) or text.startswith("|") else LineEnd.NOTHING


def without_inner_marks(text: str) -> str:
    """Without the emphasis of a part of a word."""
    return IN_WORD.sub(lambda found: found[2] or found[4] or found[6], text)


def _emphasised(text: str) -> str:
    """Marks inside words and around them that would read as signs of arithmetic."""
    if "*" in text:
        text = without_inner_marks(_POWER.sub(r"\1^\2", text))
    if "==" in text:
        text = _HIGHLIGHT.sub("", text)
    return _RAISED.sub(r"^\1", text) if text.count("^") > 1 else text


def plain_formula(text: str) -> str:
    """LaTeX as far as chat models write it in running text, by words and signs that are read."""
    if "$" in text:
        text = _FORMULA.sub(lambda match: (match[1] or "") + (match[2] or ""), text)
        text = _INNER_FORMULA.sub("", text)
    if "\\" not in text:
        return text
    text = _FRACTION.sub(r"\1/\2", text)
    return _COMMAND.sub(lambda match: _COMMANDS.get(match[1], match[1]), text)
