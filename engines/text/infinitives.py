"""Whether the words before a word make it a verb: "did you read", "when does the branch close", "I'll also read"."""

from __future__ import annotations

from collections.abc import Callable

from engines.text.word_lists import word_list

WordAt = Callable[[int], str | None]  # word at -8 .. 2 from the one in question, None beyond a pause


class Ending:
    """Every word with an ending, and a few more."""

    def __init__(self, ending: str, more: str = "") -> None:
        self._ending, self._more = ending, frozenset(word_list(more)) if more else frozenset()

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and (word.endswith(self._ending) or word in self._more)


def words(listed: str) -> frozenset[str | None]:
    return frozenset(word_list(listed))


SUBJECTS = words("i we they you")
PERSONS = words("i we they you he she it who")
VERBS_AHEAD = words(
    "will would can could shall should may might must cannot cant wont wouldnt couldnt shouldnt dont doesnt didnt do "
    "did does please lets to"
)
DETERMINERS = words("the a an this that these those my your his her its our their no any some each every another")
BE = words("am is are was were be been being 's 'm 're")
_HAVE = words("have has had 've 'd havent hasnt hadnt having")
_AUXILIARIES = VERBS_AHEAD - words("to please lets")
_PRONOUNS = PERSONS | words("me him them us anyone everyone someone")
_LETS = words("let lets make makes made help helps helped watch hear have having had")
_ADVERBS = Ending(
    "ly", "also always never ever just even still then please not first at least again maybe usually often sometimes"
)
_OPENERS = frozenset([None]) | words(
    "what when where why how who which whom whose that time times day days hour hours date so but and or if"
)
_NOT_SUBJECTS = BE | _HAVE | words("get gets getting well widely not to and or but of in at on for than as")
_MAX_SUBJECT = 3  # words between an auxiliary and its verb


def is_infinitive(at: WordAt) -> bool:
    """ "can read", "I'll also read", "did you read", "does the new branch close", "let me read" """
    place = -1
    while place > -3 and at(place) in _ADVERBS and at(place) not in VERBS_AHEAD:
        place -= 1
    before, beyond = at(place), at(place - 1)
    if "not" in (at(-1), at(-2)) and (before in BE or before in _HAVE):
        return False
    if before == "'s":
        return beyond == "let"
    if before in VERBS_AHEAD or before in ("'ll", "gonna", "wanna", "gotta", "lemme"):
        return True
    if before in ("me", "us", "him", "her", "them") and beyond in _LETS:
        return True
    if before in _PRONOUNS and beyond in _AUXILIARIES:
        return at(place - 2) not in PERSONS or at(place - 2) == "who"
    return before is not None and before not in _NOT_SUBJECTS and before not in PERSONS and _is_asked(at, place)


def _is_asked(at: WordAt, last: int) -> bool:
    """Whether a noun that ends at `last` is the subject of a question: "did John", "when does the branch"."""
    for length in range(1, _MAX_SUBJECT + 1):
        if at(last - length) in _AUXILIARIES and at(last - length - 1) in _OPENERS:
            return length == 1 or at(last - length + 1) in DETERMINERS
    return False


def is_asked_to_be(at: WordAt) -> bool:
    """ "Is the stream", "are we" at the start of a question"""
    for length in range(1, _MAX_SUBJECT + 1):
        if at(-1 - length) in BE and at(-2 - length) is None:
            return length == 1 or at(-length) in DETERMINERS
    return False
