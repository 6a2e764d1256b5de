"""Words that a hyphen breaks over two lines: "nega-" and "tive" are one word, "well-" and "known" two."""

from __future__ import annotations

import re

from engines.text.word_lists import word_list

_BEGUN = re.compile(r"[(\[\"'*_]*[A-Za-z]{2,}-")
_GOES_ON = re.compile(r"[a-z]{2,}\W*")
_FIRST_WORDS = frozenset(
    word_list(
        "well self non high low long short full part half old new all ever far fast free hard ill cross one two three "
        "four five six seven eight nine ten first second third real open close single double multi large small late "
        "early left right state user data time end world air water snow mother father brother sister check pick "
        "twenty thirty forty fifty sixty seventy eighty ninety"
    )
)
# Always one with what follows.
_PREFIXES = frozenset(word_list("out up in over under pre post anti inter sub super re un mis dis be"))
# Behind the first words these make one: high-way, state-ment, real-ize.
_LAST_PARTS = frozenset(
    word_list(
        "sense ing ed er ers est ly ness less ment ments ity ize izes ized izing ization ary ful ish age dom hood teen "
        "sion tion tions ty ties al ward wards ware light lights way ways port ports plane line lines base bases fall "
        "wide place paper ship ships able ably en ens ened ening ner ners born come house houses book books stream"
    )
)
_LAST_WORDS = frozenset(
    word_list(
        "known based like free old year term time level end wide friendly made law looking speaking driven scale "
        "quality called style born up off out in down and to of the or hand sized related oriented aware only first "
        "class person day hour minute week month party page line word side sided defined centered life being"
    )
)


def is_broken(text: str) -> bool:
    """Whether a token may be the first half of a word."""
    return text.endswith("-") and _BEGUN.fullmatch(text) is not None


def joined(first: str, second: str) -> str | None:
    """Both halves as one token; None where the second, which opens a line, begins something else."""
    if not _GOES_ON.fullmatch(second):
        return None
    start, goes_on = first.strip("([\"'*_-").lower(), re.split(r"\W", second)[0]
    if start in _PREFIXES:
        return first[:-1] + second
    two = goes_on not in _LAST_PARTS if start in _FIRST_WORDS else goes_on in _LAST_WORDS
    return first + second if two else first[:-1] + second
