"""Words that are no numbers: hyphens, acronyms, letters with digits, names in mixed capitals, Roman numerals.

A reading here depends on the token and the one before.
"""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import is_spelled, is_spelled_small, spell
from engines.text.additions import ADDED_WORDS
from engines.text.context import Around, Left
from engines.text.marks import sign_name
from engines.text.number_tokens import read_number
from engines.text.word_lists import word_list

_SEPARATORS = re.compile(r"([-–/_\\|()\[\]{}<>~*\"`]+)")
_LETTERS = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?")
_PIECES = re.compile(r"\d+(?:[.,]\d+)*|[A-Za-z]+(?:'[A-Za-z]+)*|.", re.DOTALL)
_DOTTED = re.compile(r"((?:[A-Za-z]\.)+[A-Za-z]?)('s|)")
_CLOCK = re.compile(r"\d{1,2}(?::\d\d)(?:am|pm)?|\d{1,2}(?:am|pm)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_NAME_PREFIX = re.compile(r"(?:Mc|Mac|De|Di|Du|La|Le|Van|Von|Fitz|O)[A-Z][a-z]+|[A-Z]{2,}(?:s|ed|ing)")
_ROMAN = re.compile(r"(?=[ivxl])(xl|l?x{0,3})(ix|iv|v?i{0,3})")
_ROMAN_VALUES = {"i": 1, "v": 5, "x": 10, "l": 50}
_NUMBERED = frozenset(
    word_list(
        "episode season round scenario chapter part volume act section book phase type level title appendix figure "
        "table step article mark grade stage bowl tier class scene canto psalm lesson unit war"
    )
)
LETTERED = frozenset(
    word_list(
        "an plan vitamin group option team point hepatitis model exhibit side category serie letter grade variant"
    )
)
_RULERS = frozenset(
    word_list(
        "henry louis charles george edward james william elizabeth mary richard john paul pius benedict leo "
        "napoleon philip alexander nicholas peter catherine frederick wilhelm francis ferdinand alfonso gregory "
        "innocent clement urban ramses ptolemy ivan carl gustav christian"
    )
)

_CASED_NAMES = {"LaTeX": "latex", "BibTeX": "bib tek", "TeX": "tek", "YouTuber": "youtuber", "LinkedIn": "linked in"}
_BETWEEN = {"*": "times", "<": "is less than", ">": "is greater than", "~": "to", "|": "or", "\\": "backslash"}
SHORT_KEYS = {"ctrl": "control", "cmd": "command", "msg": "message"}
TIME_ZONES = frozenset(word_list("CET CEST EST EDT CST CDT MST MDT PST PDT BST IST JST AEST GMT UTC"))


def read_words(text: str, left: Left) -> list[str]:
    """Spoken words of a run of letters, digits and the marks between them."""
    words: list[str] = []
    before, separator = left, ""
    for part in _SEPARATORS.split(text):
        if not part:
            continue
        if _SEPARATORS.fullmatch(part):
            separator = part
            continue
        if separator == "/" and words:
            words.append("slash")
        elif separator in ("-", "–") and _CLOCK.fullmatch(before.core) and _CLOCK.fullmatch(part):
            words.append("to")
        elif words and part[0].isdecimal():
            words += _sign_between(separator, before.core)
        words += _part(part, before)
        separator = ""
        before = Left(core=part, starts_sentence=False)
    return words


def _sign_between(separator: str, before: str) -> list[str]:
    """A sign between digits that would change what they say if it were not heard."""
    if separator in ("-", "–"):
        return ["minus"] if before in TIME_ZONES else []
    sign = separator.strip('-–_()[]{}"`/')
    return _BETWEEN[sign].split() if sign in _BETWEEN and before[-1:].isdecimal() else []


def _part(part: str, left: Left) -> list[str]:
    if _LETTERS.fullmatch(part):
        return _word(part.rstrip("'"), left)
    dotted = _DOTTED.fullmatch(part)
    if dotted:
        spelled = spell(dotted[1].replace(".", ""))
        return [*spelled[:-1], spelled[-1] + dotted[2]]
    said = read_number(part, Around(left=left, peek=lambda _: None))
    if said is not None:
        return list(said.words)
    words: list[str] = []
    for piece in _PIECES.findall(part):
        if piece[0].isdecimal():
            words += _digits(piece)
        elif piece[0].isascii() and piece[0].isalpha():
            glued = len(piece) < 3 and piece != part.strip("'")
            words += spell(piece) if glued and piece.isupper() else _word(piece, left)
        elif piece == "." and words:
            words.append("dot")
        elif piece == "^" and words:
            words += ["to", "the", "power", "of"]
        elif piece == "$" and not words:
            words.append("dollar")
        elif piece == "#" and words and words[-1] != "hash":
            words.append("hash")
        elif piece not in "#^*":
            words += sign_name(piece).split()
    if words and words[-1] == "dot":
        words.pop()
    return words


def _digits(piece: str) -> list[str]:
    if len(piece) == 4 and piece.isdecimal() and "1100" <= piece < "2100":
        return numbers.year(int(piece))
    plain = len(piece) < 5 and piece.count(".") < 2
    return numbers.quantity(piece) if plain else numbers.digits(re.sub(r"\D", "", piece))


def _word(word: str, left: Left) -> list[str]:
    low = word.lower()
    if len(word) == 1:
        return _letter(word, left)
    if low in ADDED_WORDS:
        return [low]
    if word in _CASED_NAMES:
        return _CASED_NAMES[word].split()
    if low in SHORT_KEYS:
        return [SHORT_KEYS[low]]
    roman = _roman(word, left)
    if roman is not None:
        return roman
    if word in TIME_ZONES and re.search(r"\d$|^[ap]\.?m$", left.lower):
        return spell(word)
    stem, ending = _stem(word)
    if stem.isupper() and len(stem) > 1:
        if not stem.isalpha():
            return [low]
        if not is_spelled(stem.lower(), among_capitals=left.shouted):
            return [low]
        spelled = spell(stem)
        return [*spelled[:-1], spelled[-1] + ending]
    if any(character.isupper() for character in word[1:]) and not _NAME_PREFIX.fullmatch(word) and "'" not in word:
        pieces = _CAMEL.split(word)
        if len(pieces) > 1:
            return [spoken for piece in pieces for spoken in _word(piece, Left(core="-", starts_sentence=False))]
    return spell(low) if is_spelled_small(low) else [low]


def _letter(letter: str, left: Left) -> list[str]:
    """The article "a", or the letter: "Plan A", but "A plan"."""
    named = letter == "A" and (left.lower in LETTERED or left.lower in _NUMBERED)
    roman = _roman(letter, left)
    return roman if roman is not None else spell(letter) if named else [letter.lower()]


def is_numeral(word: str, left: Left) -> bool:
    """Whether a capital letter is a Roman number: "Part V"."""
    return _roman(word, left) is not None


def _roman(word: str, left: Left) -> list[str] | None:
    if word.endswith(("'s", "’s")):
        said = _roman(word[:-2], left)
        return None if said is None else [*said[:-1], said[-1] + "'s"]
    low = word.lower()
    value = roman_value(word)
    if value is None or not left.capitalised or left.shouted:
        return None
    if left.lower in _NUMBERED:
        return numbers.cardinal(value)
    if left.lower in _RULERS:
        return None if low == "i" else ["the", *numbers.ordinal(value)]
    return numbers.cardinal(value) if len(word) > 1 and low not in ("xl", "xx", "li", "mi") else None


def roman_value(word: str) -> int | None:
    low = word.lower()
    if not word.isupper() or not _ROMAN.fullmatch(low):
        return None
    values = [_ROMAN_VALUES[letter] for letter in low]
    return sum(-one if one < other else one for one, other in zip(values, [*values[1:], 0], strict=True))


def _stem(word: str) -> tuple[str, str]:
    """NASA's -> NASA and its clitic; CDs -> CD, which sounds the same."""
    if word.lower().endswith("'s"):
        return word[:-2], "'s"
    if len(word) > 2 and word.endswith("s") and word[:-1].isupper():
        return word[:-1], "'s"
    return word, ""
