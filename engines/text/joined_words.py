"""A token of words with pauses or signs of arithmetic inside it: "yes—no", "end.Next", "2+2=4"."""

from __future__ import annotations

import re

from engines.text.acronyms import spell
from engines.text.context import Left
from engines.text.marks import OPERATORS
from engines.text.phones import PauseType
from engines.text.pieces import Piece, closing_kind
from engines.text.words import read_words

_INNER_BREAK = re.compile(
    r"(?<=[A-Za-z'])(\.{2,}|[,;:!?]+|\.(?=[A-Z][a-z]))(?=[A-Za-z'])|—+|--+|\|+|(?<=\d)[,;!?](?=[A-Za-z])"
)

_PINNED = re.compile(r"([A-Za-z][\w.-]+)(==|>=|<=|!=)(\d+(?:\.\d+)*)")  # numpy==1.26.4


def read_joined_words(core: str, left: Left) -> list[Piece]:
    """Words with the pauses inside the token: "yes—no", "end.Next"."""
    pieces: list[Piece] = []
    start = 0
    for match in _INNER_BREAK.finditer(core):
        pieces += _expression(core[start : match.start()], left)
        pieces.append(closing_kind("", match.group()) or PauseType.PLAIN)
        start, left = match.end(), Left(core="-", starts_sentence=False)
    return [*pieces, *_expression(core[start:], left)]


def _expression(text: str, left: Left) -> list[str]:
    """ "2+2=4" is arithmetic; anything else is words."""
    pinned = _PINNED.fullmatch(text)
    if pinned:
        return [*read_words(pinned[1], left), *OPERATORS[pinned[2]].split(), *read_words(pinned[3], left)]
    parts = re.split(r"([+*×÷=]|\^\+?|[<>!=]=|[<>]|(?<=\d)/(?=\d))", text)
    operand = r"-?\d+(?:\.\d+)?|[A-Za-z]{1,2}|" if "^" in text else r"-?\d+(?:\.\d+)?|[A-Za-z]|"
    if len(parts) < 3 or not all(re.fullmatch(operand, part) for part in parts[::2]):
        return read_words(text, left)
    words: list[str] = []
    for index, part in enumerate(parts):
        if index % 2:
            words += OPERATORS[part[0] if part[0] == "^" else part].split()
        elif part:
            words += ["minus"] if part[0] == "-" else []
            words += spell(part) if part.isalpha() else read_words(part.lstrip("-"), left)
    return words
