"""How a word that no lexicon lists sounds: the teacher's letter-to-sound trees, walked letter by letter.

One decision tree per letter asks for the letters around it (Black, Lenzo and Pagel, 1998). The trees were dumped from
CMU Flite, so an invented word sounds here as it sounds there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_EDGE = "#"
_OUTSIDE = "0"
_LEAF = 255
_SILENT = "epsilon"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRules:
    """Trees over one flat table of states.

    A state is (feature, value, next if equal, next if not); a leaf has feature 255 and the phone's number as value.
    Features [0, context) are the letters before, nearest last; [context, 2 * context) the letters after.
    """

    context: int
    first_state: dict[str, int]
    phones: tuple[tuple[str, ...], ...]
    states: tuple[tuple[int, int, int, int], ...]

    def pronounce(self, word: str) -> tuple[str, ...]:
        """Lower-case letters to phones; any other character is silent."""
        edge = _OUTSIDE * (self.context - 1)
        padded = f"{edge}{_EDGE}{word}{_EDGE}{edge}"
        phones: list[str] = []
        for position in range(self.context, self.context + len(word)):
            state = self.first_state.get(padded[position])
            if state is not None:
                around = padded[position - self.context : position] + padded[position + 1 : position + 1 + self.context]
                phones += self._answer(state, around)
        return tuple(phones)

    def _answer(self, state: int, around: str) -> tuple[str, ...]:
        feature, value, equal, other = self.states[state]
        while feature != _LEAF:
            asked = feature < len(around) and ord(around[feature]) == value
            feature, value, equal, other = self.states[equal if asked else other]
        return self.phones[value]


def parse_letter_rules(lines: Iterable[str]) -> LetterRules:
    context = 0
    first_state: dict[str, int] = {}
    phones: list[tuple[str, ...]] = []
    states: list[tuple[int, int, int, int]] = []
    for line in lines:
        kind, *fields = line.split(" ")
        if kind == "state":
            feature, value, equal, other = fields
            states.append((int(feature), int(value), int(equal), int(other)))
        elif kind == "letter":
            first_state[fields[0]] = int(fields[1])
        elif kind == "phone":
            phones.append(() if fields[0] == _SILENT else tuple(fields[0].split("-")))
        elif kind == "context":
            context = int(fields[0])
        else:
            raise ValueError(f"letter rules hold context, letter, phone and state lines, got {line[:40]!r}")
    return LetterRules(context=context, first_state=first_state, phones=tuple(phones), states=tuple(states))
