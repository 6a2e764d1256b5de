"""Puts the caller's pronunciations in place of a token's own reading.

Whole tokens and runs of tokens are looked up first, then the token without its "'s", then the parts of a token that
hyphens, slashes and the like join.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.text.addresses import read_address
from engines.text.context import Around
from engines.text.phones import PauseType
from engines.text.phrases import match
from engines.text.pronunciation import Entry, split_marks
from engines.text.words import read_words

_PARTS = re.compile(r"([-–/_|,;:!?—]+|\.{2,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A word spoken as an entry wants it."""

    entry: Entry
    clitic: str = ""  # "'s" behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    pieces: list[str | PauseType | Override]
    taken: int
    closing: str  # the marks that are left behind it


def override(core: str, closing: str, around: Around) -> Overridden | None:
    if not around.dictionaries:
        return None

    seen: list[tuple[str, str, str] | None] = []  # each dictionary asks for the same

    def following(count: int) -> tuple[str, str, str] | None:
        if count > len(seen):
            token = around.peek(count)
            seen.append(None if token is None else split_marks(token))
        return seen[count - 1]

    found = match(around.dictionaries, core, closing, following)
    if found is not None:
        entry, taken = found
        if taken:
            after = following(taken)
            closing = "" if after is None else after[2]
        return Overridden(
            pieces=[Override(entry=entry)], taken=taken, closing=closing[1:] if entry.stopped else closing
        )
    own = _single(core, around)
    if own is not None:
        return Overridden(pieces=[own], taken=0, closing=closing)
    pieces = _parts(core, around)
    return None if pieces is None else Overridden(pieces=pieces, taken=0, closing=closing)


def _single(part: str, around: Around) -> Override | None:
    """A word without its neighbours, with or without "'s"."""
    for stem, clitic in ((part, ""), (part[:-2], part[-2:].lower())):
        if clitic in ("", "'s"):
            found = match(around.dictionaries, stem, "", lambda _: None)
            if found is not None:
                return Override(entry=found[0], clitic=clitic)
    return None


def _parts(core: str, around: Around) -> list[str | PauseType | Override] | None:
    parts = _PARTS.split(core)
    if len(parts) == 1 or read_address(core) is not None:
        return None
    own = [_single(part, around) for part in parts]
    if not any(own):
        return None
    pieces: list[str | PauseType | Override] = []
    for part, spoken in zip(parts, own, strict=True):
        if spoken is not None:
            pieces.append(spoken)
        elif not _PARTS.fullmatch(part):
            pieces += read_words(part, around.left) if part else []
        elif part == "/":
            pieces.append("slash")
        elif part[0] not in "-–/_":
            pieces.append(PauseType.PLAIN)
    return pieces
