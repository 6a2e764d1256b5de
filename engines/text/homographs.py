"""Words that are written alike and pronounced in two ways, by the words around them.

The teacher's tagger knows nouns from verbs for two hundred words. Here are those that it does not list or often
mistakes: the first rule whose sets hold the neighbours gives the sounds, else the first of a word's two.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import NamedTuple

from engines.text.infinitives import (
    BE,
    DETERMINERS,
    PERSONS,
    SUBJECTS,
    VERBS_AHEAD,
    Ending,
    WordAt,
    is_asked_to_be,
    is_infinitive,
    words,
)


class _Rule(NamedTuple):
    sounds: str
    p: Container[str | None] | None = None  # the word before
    n: Container[str | None] | None = None  # the word behind
    pp: Container[str | None] | None = None
    nn: Container[str | None] | None = None
    when: Callable[[WordAt], bool] | None = None  # of the words before

    def fits(self, at: WordAt) -> bool:
        if self.when is not None and not self.when(at):
            return False
        asked = ((self.p, -1), (self.pp, -2), (self.n, 1), (self.nn, 2))
        return all(wanted is None or at(place) in wanted for wanted, place in asked)


_NEGATED = words("cant wont wouldnt couldnt shouldnt dont doesnt didnt cannot please lets")
_OBJECTS = words("the a an this that these those your my his her its our their it them me us him all each every any")
_FEELS = BE | words("feel feels felt seem seems seemed remain remains remained perfectly quite very not fully")
_GO = words("go goes going went gone")
_TAKES = words("take takes took taken taking final deep low")
_NOTHING = frozenset([None])
_TIMES = words(
    "at on early late later tomorrow today tonight soon permanently down out until till before after for during by "
    "every due its their your our my his her the this these those"
)
_NEAR_THINGS = words(
    "friend friends relative relatives family contact contacts attention quarters range proximity call calls second "
    "ties tie relationship relationships look match eye encounter encounters enough watch "
    "colleague colleagues collaboration neighbors neighbours ally allies shave"
)
_LIVE_THINGS = words(
    "agent agents representative representatives person operator operators human chat chats support help stream "
    "streams streaming event events music tv broadcast broadcasts coverage data update updates traffic video demo "
    "videos demos feed feeds tracking translation transcript transcription captions show shows audience performance "
    "performances session sessions webinar webinars call calls"
)
_TORN = words(
    "muscle ligament tendon meniscus labral labrum cuff hamstring acl mcl cartilage retinal calf groin achilles vaginal"
)


class _Plural:
    """What looks like more than one: "doors", "markets"."""

    def __contains__(self, word: object) -> bool:
        if not isinstance(word, str) or len(word) < 4 or word in ("always", "perhaps", "this", "does", "sometimes"):
            return False
        return word.endswith("s") and not word.endswith(("ss", "us", "is", "as"))


_Entry = tuple[str, tuple[_Rule, ...]]
_ALL: dict[str, _Entry] = {
    "bow": (
        "b ow1",
        (
            _Rule("b ow1", n=words("tie ties string strings hunter hunting window windows and")),
            _Rule("b aw1", p=VERBS_AHEAD | SUBJECTS | words("and")),
            _Rule("b aw1", p=DETERMINERS, pp=_TAKES),
            _Rule("b aw1", p=_TAKES),
            _Rule("b aw1", n=words("of down out before deeply low to")),
            _Rule("b aw1", p=frozenset([None])),
        ),
    ),
    "content": (
        "k aa1 n t eh0 n t",
        (
            _Rule(
                "k ax0 n t eh1 n t", p=_FEELS, n=frozenset([None]) | words("with to in just and that enough here now")
            ),
            _Rule("k ax0 n t eh1 n t", n=Ending("self", "themselves ourselves yourselves")),
        ),
    ),
    "minute": (
        "m ih1 n ax0 t",
        (
            _Rule("m ay0 n uw1 t", p=words("very most extremely so incredibly")),
            _Rule(
                "m ay0 n uw1 t",
                n=words(
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
            _Rule("y uw1 s t", p=words("am 'm get gets got getting become became becoming not never"), n=words("to")),
            _Rule(
                "y uw1 s t", p=BE, n=words("to"), nn=Ending("ing", "it this that the a an my your his her him them me")
            ),
            _Rule("y uw1 z d", p=BE | words("commonly often widely mainly mostly sometimes typically usually")),
            _Rule(
                "y uw1 z d",
                p=words(
                    "method methods tool tools technique techniques data device devices term terms word words process "
                    "code system systems material materials algorithm algorithms money approach command commands"
                ),
            ),
            _Rule("y uw1 s t", n=words("to")),
        ),
    ),
    "wound": (
        "w uw1 n d",
        (
            _Rule("w aw1 n d", p=PERSONS),
            _Rule("w aw1 n d", n=words("up down around through round back along tightly")),
        ),
    ),
    "lead": (
        "l iy1 d",
        (
            _Rule(
                "l eh1 d",
                n=words(
                    "pipe pipes paint poisoning acid bullet bullets weight weights free crystal based battery "
                    "batteries ore exposure"
                ),
            ),
            _Rule("l eh1 d", p=words("of molten liquid contains containing")),
        ),
    ),
    "read": (
        "r eh1 d",
        (
            _Rule("r iy1 d", when=is_infinitive),
            _Rule("r iy1 d", p=words("and"), pp=words("go come try stop sit open click review")),
            _Rule(
                "r iy1 d",
                p=words("good great quick easy interesting long short fun nice must light fascinating excellent"),
                pp=words("a an another"),
            ),
            _Rule("r iy1 d", p=_NOTHING, n=_OBJECTS | words("more on about aloud along through how why carefully")),
            _Rule("r iy1 d", p=SUBJECTS, nn=words("every daily")),
            _Rule("r iy1 d", p=SUBJECTS, n=words("every daily")),
        ),
    ),
    "resume": ("r ih0 z uw1 m", (_Rule("r eh1 z ax0 m ey2", p=DETERMINERS | words("updated attached and")),)),
    "delegate": ("d eh1 l ax0 g ey1 t", (_Rule("d eh1 l ax0 g ax0 t", p=DETERMINERS),)),
    "learned": (
        "l er1 n d",
        (
            _Rule(
                "l er1 n ih0 d", n=words("man men scholar scholars professor society judge friend colleague gentleman")
            ),
        ),
    ),
    "dove": (
        "d ah1 v",
        (
            _Rule("d ow1 v", p=PERSONS),
            _Rule("d ow1 v", n=words("into in down under off straight headfirst deep for")),
        ),
    ),
    "sow": ("s ow1", (_Rule("s aw1", p=DETERMINERS, n=frozenset([None]) | words("and had has was is with")),)),
    "bass": (
        "b ey1 s",
        (
            _Rule("b ae1 s", p=words("sea striped largemouth smallmouth black caught catch")),
            _Rule("b ae1 s", n=words("fishing fish boat")),
        ),
    ),
    "live": (
        "",
        (
            _Rule("l ay1 v", p=BE | _GO | words("streamed broadcast aired streaming broadcasting")),
            _Rule("l ay1 v", p=words("now already currently officially finally not also all both yet"), pp=BE | _GO),
            _Rule("l ay1 v", p=words("to a the our your"), n=_LIVE_THINGS),
            _Rule("l ih1 v", when=is_infinitive),
            _Rule(
                "l ay1 v",
                p=words(
                    "watch watching watched reporting reports report reported coming stream perform performing "
                    "performed playing listen recorded tune joins joining"
                ),
            ),
            _Rule("l ay1 v", p=_NOTHING, n=words("from on now")),
            _Rule("l ay1 v", n=_NOTHING | words("yet now on"), when=is_asked_to_be),
            _Rule("l ih1 v", p=SUBJECTS),
            _Rule("l ih1 v", n=words("in at here there near alone together forever longer under without")),
        ),
    ),
    "close": (
        "",
        (
            _Rule(
                "k l ow1 s", p=words("getting get gets got come comes came coming so too very how pretty stay stays")
            ),
            _Rule("k l ow1 z", p=words("'s"), pp=words("let")),
            _Rule(
                "k l ow1 s", p=BE | words("quite really fairly dangerously relatively stayed staying keep keeps kept")
            ),
            _Rule("k l ow1 s", n=_NEAR_THINGS),
            _Rule("k l ow1 z", n=words("of"), p=words("at the by before until till after from")),
            _Rule("k l ow1 z", p=_NOTHING, n=words("of")),
            _Rule("k l ow1 z", when=is_infinitive),
            _Rule("k l ow1 s", n=words("to")),
            _Rule("k l ow1 s", p=SUBJECTS, pp=BE),
            _Rule("k l ow1 z", p=SUBJECTS),
            _Rule("k l ow1 z", p=words("and or"), pp=words("open opens opening opened start begin")),
            _Rule("k l ow1 z", p=words("market trading the"), n=_NOTHING),
            _Rule("k l ow1 z", p=words("a"), pp=words("to"), n=_NOTHING),
            _Rule("k l ow1 s", p=_Plural(), n=words("at"), nn=words("hand")),
            _Rule("k l ow1 z", p=_Plural(), n=_TIMES),
        ),
    ),
    "tear": (
        "",
        (
            _Rule("t iy1 r", n=words("gas duct ducts drop drops stained jerker jerkers stains film")),
            _Rule("t iy1 r", p=DETERMINERS, n=words("it that me down on off from along away here")),
            _Rule("t eh1 r", p=words("and"), pp=words("wear")),
            _Rule("t eh1 r", p=_TORN),
            _Rule(
                "t eh1 r",
                n=words("it them this up apart down off open through away along here me us resistant proof"),
            ),
            _Rule("t eh1 r", when=is_infinitive),
            _Rule("t eh1 r", p=words("a"), n=words("in"), nn=words("the this that it")),
        ),
    ),
    "invalid": (
        "ih0 n v ae1 l ax0 d",
        (_Rule("ih1 n v ax0 l ax0 d", p=DETERMINERS, n=_NOTHING | words("who is was")),),
    ),
    "refund": (
        "r iy1 f ah2 n d",
        (
            _Rule("r ih0 f ah1 n d", when=is_infinitive),
            _Rule("r ih0 f ah1 n d", p=SUBJECTS),
            _Rule("r ih0 f ah1 n d", p=_NOTHING | words("and or not"), n=_OBJECTS),
        ),
    ),
    "refunds": ("r iy1 f ah2 n d z", (_Rule("r ih0 f ah1 n d z", p=words("he she it who that")),)),
    "se": ("", (_Rule("s ey1", p=words("per")),)),
    "produce": ("", (_Rule("p r ow1 d uw0 s", p=words("fresh local organic farm")),)),
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
    return before in _NEGATED or (before in SUBJECTS and at(-2) not in BE)
