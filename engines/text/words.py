"""Words that are no numbers: hyphens, acronyms, letters with digits, names in mixed capitals, Roman numerals.

A reading here depends on the token and the one before.
"""

from __future__ import annotations

import re

from engines.text import numbers
from engines.text.acronyms import is_spelled, is_spelled_small, spell
from engines.text.context import Left
from engines.text.marks import MARKS
from engines.text.word_lists import word_list

_SEPARATORS = re.compile(r"([-–/_\\|()\[\]{}<>~*\"`]+)")
_LETTERS = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?")
_PIECES = re.compile(r"\d+(?:[.,]\d+)*|[A-Za-z]+(?:'[A-Za-z]+)*|.", re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_NAME_PREFIX = re.compile(r"(?:Mc|Mac|De|Di|Du|La|Le|Van|Von|Fitz|O)[A-Z][a-z]+|[A-Z]{2,}(?:s|ed|ing)")
_ROMAN = {
    "ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "xi": 11, "xii": 12, "xiii": 13, "xiv": 14,
    "xv": 15, "xvi": 16, "xvii": 17, "xviii": 18, "xix": 19, "xx": 20, "xxi": 21,
}  # fmt: skip
_ROMAN_LETTER = {"i": 1, "v": 5, "x": 10}
_NUMBERED = frozenset(
    word_list(
        "chapter part volume act section book phase type level title appendix figure table step article mark grade "
        "stage tier class scene canto psalm lesson unit war"
    )
)
_RULERS = frozenset(
    word_list(
        "henry louis charles george edward james william elizabeth mary richard john paul pius benedict leo "
        "napoleon philip alexander nicholas peter catherine frederick wilhelm francis ferdinand alfonso gregory "
        "innocent clement urban ramses ptolemy ivan carl gustav christian"
    )
)


def read_words(text: str, left: Left) -> list[str]:
    """Spoken words of a run of letters, digits and the marks between them."""
    words: list[str] = []
    before = left
    for part in _SEPARATORS.split(text):
        if not part:
            continue
        if _SEPARATORS.fullmatch(part):
            if part == "/" and words:
                words.append("slash")
            continue
        words += _part(part, before)
        before = Left(core=part, starts_sentence=False)
    if words and words[-1] == "slash":
        words.pop()
    return words


def _part(part: str, left: Left) -> list[str]:
    if _LETTERS.fullmatch(part):
        return _word(part.rstrip("'"), left)
    words: list[str] = []
    for piece in _PIECES.findall(part):
        if piece[0].isdecimal():
            plain = len(piece) < 5 and piece.count(".") < 2
            words += numbers.quantity(piece) if plain else numbers.digits(re.sub(r"\D", "", piece))
        elif piece[0].isascii() and piece[0].isalpha():
            glued = len(piece) < 3 and piece != part.strip("'")
            words += spell(piece) if glued and piece.isupper() else _word(piece, left)
        elif piece == "." and words:
            words.append("dot")
        elif piece in MARKS:
            words += MARKS[piece].split()
    if words and words[-1] == "dot":
        words.pop()
    return words


def _word(word: str, left: Left) -> list[str]:
    low = word.lower()
    if len(word) == 1:
        return _letter(word, left)
    roman = _roman(word, left)
    if roman is not None:
        return roman
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
    named = letter == "A" and not left.starts_sentence and not left.shouted
    roman = _roman(letter, left)
    return roman if roman is not None else spell(letter) if named else [letter.lower()]


def _roman(word: str, left: Left) -> list[str] | None:
    low = word.lower()
    if not word.isupper() or not left.capitalised:
        return None
    if left.lower in _NUMBERED:
        value = _ROMAN.get(low) or _ROMAN_LETTER.get(low)
        return None if value is None else numbers.cardinal(value)
    value = _ROMAN.get(low) or (_ROMAN_LETTER.get(low) if low in ("v", "x") and left.lower in _RULERS else None)
    if value is None or left.shouted:
        return None
    return ["the", *numbers.ordinal(value)] if left.lower in _RULERS else numbers.cardinal(value)


def _stem(word: str) -> tuple[str, str]:
    """NASA's -> NASA and its clitic; CDs -> CD, which sounds the same."""
    if word.lower().endswith("'s"):
        return word[:-2], "'s"
    if len(word) > 2 and word.endswith("s") and word[:-1].isupper():
        return word[:-1], "'s"
    return word, ""
