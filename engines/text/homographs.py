"""Words that are written alike and pronounced in two ways, by the two words on either side.

The teacher's tagger knows nouns from verbs for two hundred words. Here are those that it does not list or often
mistakes: the first rule whose sets hold the neighbours gives the sounds, else the first of a word's two.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple

from engines.text.word_lists import word_list

WordAt = Callable[[int], str | None]  # word at -2 .. 2 from the one in question, None beyond a pause


class _Ending:
    """Every word with an ending, and a few more."""

    def __init__(self, ending: str, more: str = "") -> None:
        self._ending, self._more = ending, frozenset(word_list(more)) if more else frozenset()

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and (word.endswith(self._ending) or word in self._more)


class _Rule(NamedTuple):
    sounds: str
    p: Container[str | None] | None = None  # the word before
    n: Container[str | None] | None = None  # the word behind
    pp: Container[str | None] | None = None
    nn: Container[str | None] | None = None

    def fits(self, at: WordAt) -> bool:
        asked = ((self.p, -1), (self.pp, -2), (self.n, 1), (self.nn, 2))
        return all(wanted is None or at(place) in wanted for wanted, place in asked)


def _set(words: str) -> frozenset[str | None]:
    return frozenset(word_list(words))


_SUBJECTS = _set("i we they you")
_PERSONS = _set("i we they you he she it who")
_VERBS_AHEAD = _set(
    "will would can could shall should may might must cannot cant wont wouldnt couldnt shouldnt dont doesnt didnt do "
    "did does please lets to"
)
_NEGATED = _set("cant wont wouldnt couldnt shouldnt dont doesnt didnt cannot please lets")
_OBJECTS = _set("the a an this that these those your my his her its our their it them me us him all each every any")
_DETERMINERS = _set("the a an this that these those my your his her its our their no any some each every another")
_BE = _set("am is are was were be been being 's 'm 're")
_FEELS = _BE | _set("feel feels felt seem seems seemed remain remains remained perfectly quite very not fully")
_TAKES = _set("take takes took taken taking final deep low")

_Entry = tuple[str, tuple[_Rule, ...]]
_ALL: dict[str, _Entry] = {
    "bow": (
        "b ow1",
        (
            _Rule("b ow1", n=_set("tie ties string strings hunter hunting window windows and")),
            _Rule("b aw1", p=_VERBS_AHEAD | _SUBJECTS | _set("and")),
            _Rule("b aw1", p=_DETERMINERS, pp=_TAKES),
            _Rule("b aw1", p=_TAKES),
            _Rule("b aw1", n=_set("of down out before deeply low to")),
            _Rule("b aw1", p=frozenset([None])),
        ),
    ),
    "content": (
        "k aa1 n t eh0 n t",
        (
            _Rule(
                "k ax0 n t eh1 n t", p=_FEELS, n=frozenset([None]) | _set("with to in just and that enough here now")
            ),
            _Rule("k ax0 n t eh1 n t", n=_Ending("self", "themselves ourselves yourselves")),
        ),
    ),
    "minute": (
        "m ih1 n ax0 t",
        (
            _Rule("m ay0 n uw1 t", p=_set("very most extremely so incredibly")),
            _Rule(
                "m ay0 n uw1 t",
                n=_set(
                    "amount amounts detail details quantity quantities particle particles trace traces difference "
                    "differences change changes fraction fractions fragments droplets crystals dose doses organisms "
                    "variation variations adjustments proportions specks"
                ),
            ),
        ),
    ),
    "used": (
        "y uw1 z d",
        (
            _Rule("y uw1 s t", p=_set("am 'm get gets got getting become became becoming not never"), n=_set("to")),
            _Rule(
                "y uw1 s t", p=_BE, n=_set("to"), nn=_Ending("ing", "it this that the a an my your his her him them me")
            ),
            _Rule("y uw1 z d", p=_BE | _set("commonly often widely mainly mostly sometimes typically usually")),
            _Rule(
                "y uw1 z d",
                p=_set(
                    "method methods tool tools technique techniques data device devices term terms word words process "
                    "code system systems material materials algorithm algorithms money approach command commands"
                ),
            ),
            _Rule("y uw1 s t", n=_set("to")),
        ),
    ),
    "wound": (
        "w uw1 n d",
        (
            _Rule("w aw1 n d", p=_PERSONS),
            _Rule("w aw1 n d", n=_set("up down around through round back along tightly")),
        ),
    ),
    "lead": (
        "l iy1 d",
        (
            _Rule(
                "l eh1 d",
                n=_set(
                    "pipe pipes paint poisoning acid bullet bullets weight weights free crystal based battery "
                    "batteries ore exposure"
                ),
            ),
            _Rule("l eh1 d", p=_set("of molten liquid contains containing")),
        ),
    ),
    "read": (
        "r eh1 d",
        (
            _Rule("r iy1 d", p=_VERBS_AHEAD | _set("not")),
            _Rule("r iy1 d", p=frozenset([None]), n=_OBJECTS | _set("more on about aloud along through how why")),
            _Rule("r iy1 d", p=_SUBJECTS, nn=_set("every daily")),
            _Rule("r iy1 d", p=_SUBJECTS, n=_set("every daily")),
        ),
    ),
    "resume": ("r ih0 z uw1 m", (_Rule("r eh1 z ax0 m ey2", p=_DETERMINERS | _set("updated attached and")),)),
    "delegate": ("d eh1 l ax0 g ey1 t", (_Rule("d eh1 l ax0 g ax0 t", p=_DETERMINERS),)),
    "learned": (
        "l er1 n d",
        (
            _Rule(
                "l er1 n ih0 d", n=_set("man men scholar scholars professor society judge friend colleague gentleman")
            ),
        ),
    ),
    "dove": (
        "d ah1 v",
        (
            _Rule("d ow1 v", p=_PERSONS),
            _Rule("d ow1 v", n=_set("into in down under off straight headfirst deep for")),
        ),
    ),
    "sow": ("s ow1", (_Rule("s aw1", p=_DETERMINERS, n=frozenset([None]) | _set("and had has was is with")),)),
    "bass": (
        "b ey1 s",
        (
            _Rule("b ae1 s", p=_set("sea striped largemouth smallmouth black caught catch")),
            _Rule("b ae1 s", n=_set("fishing fish boat")),
        ),
    ),
    "live": (
        "",
        (
            _Rule("l ay1 v", p=_BE | _set("went go goes going gone streamed broadcast aired")),
            _Rule("l ih1 v", n=_set("in at here there near alone together forever longer under without")),
        ),
    ),
    "produce": ("", (_Rule("p r ow1 d uw0 s", p=_set("fresh local organic farm")),)),
}
HOMOGRAPHS: frozenset[str] = frozenset(_ALL)


def sounds_by_rule(word: str, at: WordAt) -> str | None:
    """None where the tagger is to decide."""
    usual, rules = _ALL[word]
    return next((rule.sounds for rule in rules if rule.fits(at)), usual or None)


def all_sounds(word: str) -> list[str]:
    usual, rules = _ALL[word]
    return [one for one in dict.fromkeys([usual, *(rule.sounds for rule in rules)]) if one]


def is_surely_verb(word: str, at: WordAt) -> bool:
    """Of a word that the tagger knows as noun and verb: "they present it", "don't object", "Excuse me"."""
    if len(word) < 4:  # "to", "in"
        return False
    before = at(-1)
    if before is None:
        return at(1) in _OBJECTS
    if word.endswith("s") and not word.endswith("ss"):
        return before in ("he", "she", "it", "who")
    return before in _NEGATED or (before in _SUBJECTS and at(-2) not in _BE)
