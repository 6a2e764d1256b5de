"""A unit that is a token of its own, behind its number: "6 ft", "12 fl oz", "10 in wide"."""

from __future__ import annotations

from dataclasses import replace

from engines.text.amounts import ARTICLES, is_before_noun, is_noun
from engines.text.context import CLOSING, STOPS, Around, Left
from engines.text.inches import BEHIND_INCHES
from engines.text.phones import PauseType
from engines.text.pieces import Reading, closing_kind, made, stopped_short
from engines.text.ranges import range_kind
from engines.text.units import FIRST_HALVES, detached_unit
from engines.text.units_by_words import is_part_of_one, unit_by_words
from engines.text.word_lists import word_list

_SET_IN_POINTS = frozenset(word_list("font type text size lettering"))
_MEASURED = frozenset(
    word_list(
        "walk drive ride run swim flight hike trip commute break timer video clip song call meeting talk speech nap "
        "delay wait interval workout session read ladder fence pole pipe cable board ceiling race radius wingspan"
    )
)


def read_unit(core: str, closing: str, kind: PauseType | None, around: Around) -> Reading | None:
    """A unit behind its number."""
    left = around.left
    assert left.number is not None
    if core in FIRST_HALVES and closing in ("", "."):
        pair = FIRST_HALVES[core].get(around.following())
        if pair is not None:
            last = around.peek(1) or ""
            one = left.number == "1" or _measures_noun(around, 2, stopped=last.endswith("."))
            behind = closing_kind("", last[len(last.rstrip(CLOSING + STOPS)) :])
            return made(list(pair[not one].split()), behind, core, 1)
    by_words = unit_by_words(core, left.number, around.recent[:-1], around)
    if by_words is not None:
        names: tuple[str, str] | None = by_words
    elif core in ("pt", "pts") and closing.startswith("."):
        names = _stopped_point(core, around)
    elif core == "pt" and around.following() in _SET_IN_POINTS:
        names = ("point", "points")
    elif core == "in" and (closing or around.following().lower() in BEHIND_INCHES):
        names = ("inch", "inches")
    else:
        names = detached_unit(core, left.number)
    if names is None:
        return None
    one = left.number == "1" or is_part_of_one(left.number, around.recent[:-1])
    one = one or (closing in ("", ".") and _measures_noun(around, 1))
    spoken = stopped_short(names[not one], core, closing, kind, around)
    if not spoken.left.core:
        return spoken
    return replace(spoken, left=replace(spoken.left, kind=range_kind(left.number + core)))


def _stopped_point(core: str, around: Around) -> tuple[str, str]:
    """ "1 pt. cream" is a pint; "2 pts." and "12 pt. type" are points."""
    behind = around.peek(1) or ""
    pint = behind == "of" or is_noun(behind) if core == "pts" else behind not in _SET_IN_POINTS
    return ("pint", "pints") if pint else ("point", "points")


def _measures_noun(around: Around, behind: int, *, stopped: bool = False) -> bool:
    """ "a 6 ft fence", "5 min. walk" """
    if around.following(behind) in _MEASURED:
        return True
    if len(around.recent) < 2 or around.recent[-2].lower() not in ARTICLES:
        return False
    if stopped:  # "a 900 sq. ft. flat"
        return is_noun(around.peek(behind) or "")
    return is_before_noun(Around(left=Left(core=around.recent[-2]), peek=around.peek), behind)
