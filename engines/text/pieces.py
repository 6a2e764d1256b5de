"""What comes of one token: the words and pauses, how many following tokens it took, what the next token sees of it."""

from __future__ import annotations

from dataclasses import dataclass

from engines.text.context import CLOSING, HALF_DAYS, STOPS, Around, Left, Spoken
from engines.text.number_tokens import is_measurable
from engines.text.overriding import Override
from engines.text.phones import PauseType
from engines.text.ranges import range_kind
from engines.text.tags import AS_WRITTEN, SpokenAs
from engines.text.word_lists import word_list
from engines.text.words import TIME_ZONES

_KINDS = {".": PauseType.PERIOD, "?": PauseType.QUESTION, "!": PauseType.EXCLAIM}
_BEHIND_CLOCKS = frozenset(
    word_list(
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Tues Wed Thu Thur Thurs Fri Sat Eastern "
        "Central Mountain Pacific ET CT MT PT January February March April June July August September October "
        "November December"
    )
)
_PLAIN_STOPS = frozenset(',;:)]}"—')

Piece = str | PauseType | Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A run without white space, in the characters of `folding`."""

    text: str
    start: int  # characters of the source text
    end: int
    opens_line: bool
    spoken_as: SpokenAs = AS_WRITTEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    pieces: list[Piece]
    taken: int  # following tokens read together with this one
    left: Left  # for the next token


def made(pieces: list[Piece], kind: PauseType | None, core: str, taken: int, *, telephone: bool = False) -> Reading:
    if kind is not None:
        pieces = [*pieces, kind]
    if kind not in (None, PauseType.PLAIN):
        return Reading(pieces=pieces, taken=taken, left=Left())
    number = core.replace(",", "") if kind is None and is_measurable(core) else None
    left = Left(
        core=core,
        number=number,
        kind=range_kind(core) if kind is None and core else None,
        telephone=telephone and kind is None,
        starts_sentence=False,
        paused=kind is PauseType.PLAIN,
    )
    return Reading(pieces=pieces, taken=taken, left=left)


def made_of(spoken: Spoken, core: str, kind: PauseType | None, around: Around) -> Reading:
    """The marks behind the last token taken close the reading."""
    if spoken.taken:
        last = around.peek(spoken.taken) or ""
        kind = closing_kind("", last[len(last.rstrip(CLOSING + STOPS)) :])
    return made(list(spoken.words), kind, spoken.rest or core, spoken.taken, telephone=spoken.telephone)


def closing_kind(core: str, closing: str) -> PauseType | None:
    for mark in closing:
        if mark in _KINDS:
            return _KINDS[mark]
    if any(mark in _PLAIN_STOPS for mark in closing):
        return PauseType.PLAIN
    # A closing quote pauses, as with the teacher; the apostrophe of "dogs'" and "goin'" does not.
    return PauseType.PLAIN if "'" in closing and not core.endswith(("s", "S", "in", "n", "l", "o")) else None


def stopped_short(words: str, core: str, closing: str, kind: PauseType | None, around: Around) -> Reading:
    """The full stop belongs to the abbreviation, unless a capital or nothing follows; behind "9 a.m." a day may."""
    if closing == ".":
        following = around.following()
        goes_on = following in TIME_ZONES or (core.lower() in HALF_DAYS and following in _BEHIND_CLOCKS)
        kind = kind if not following or (following[0].isupper() and not goes_on) else None
    elif closing.startswith("."):
        kind = closing_kind("", closing[1:]) or kind
    return made(list(words.split()), kind, core, 0)
