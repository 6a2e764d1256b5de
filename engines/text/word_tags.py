"""Which part of speech a word is, where that changes its sound: "to record" and "a record".

The teacher decides with a small tree over the word, two words before and two after; so do we, with the same tree. It
is asked for the some two hundred words that have two readings and for no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

_CONTENT = "content"
_NOTHING = "0"  # beyond the first and last word
_PLACES = {"": 0, "p.": -1, "p.p.": -2, "n.": 1, "n.n.": 2}

WordAt = Callable[[int], str | None]  # word at -2 .. 2 from the one in question, None beyond the ends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    place: int
    asks_class: bool
    value: str
    no: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTags:
    classes: dict[str, str]  # function word -> its class
    questions: dict[int, _Question]
    leaves: dict[int, str]

    def tag(self, word_at: WordAt) -> str:
        """Asks for as few of the neighbours as the tree needs."""
        number = 0
        while number not in self.leaves:
            question = self.questions[number]
            word = word_at(question.place)
            found = _NOTHING if word is None else self.classes.get(word, _CONTENT) if question.asks_class else word
            number = number + 1 if found == question.value else question.no
        return self.leaves[number]


def parse_word_tags(lines: Iterable[str]) -> WordTags:
    classes: dict[str, str] = {}
    questions: dict[int, _Question] = {}
    leaves: dict[int, str] = {}
    for line in lines:
        kind, *fields = line.split(" ")
        if kind == "class":
            for word in fields[1:]:
                classes.setdefault(word, fields[0])
        elif kind == "leaf":
            leaves[int(fields[0])] = fields[1]
        else:
            number, feature, value, no = fields
            if feature.endswith("gpos"):
                place, asks_class = _PLACES[feature.removesuffix("gpos")], True
            else:
                place, asks_class = _PLACES[feature.removesuffix("name")], False
            questions[int(number)] = _Question(place=place, asks_class=asks_class, value=value, no=int(no))
    return WordTags(classes=classes, questions=questions, leaves=leaves)
