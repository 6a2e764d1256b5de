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
from engines.text.numerals import LETTERED, NUMBERED, numeral_words
from engines.text.word_lists import word_list

_SEPARATORS = re.compile(r"([-–/_\\|()\[\]{}<>~*\"`]+)")
_LETTERS = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?")
_PIECES = re.compile(r"\d+(?:[.,]\d+)*|[A-Za-z]+(?:'[A-Za-z]+)*|.", re.DOTALL)
_DOTTED = re.compile(r"((?:[A-Za-z]\.)+[A-Za-z]?)('s|)")
_OWNER = re.compile(r"(.*[\w+#])'s")  # MP3's, R&D's
_SEVERAL = re.compile(r"([A-Z][A-Z\d]*\d[A-Z]?|\d+[A-Z]+)s")  # MP3s, A380s, 5Gs
_NUMBER_S = re.compile(r"\d+s")
_OWNED = re.compile(r"(?<=\w)[™®]+")
_CLOCK = re.compile(r"\d{1,2}(?::\d\d)(?:am|pm)?|\d{1,2}(?:am|pm)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_NAME_PREFIX = re.compile(r"(?:Mc|Mac|De|Di|Du|La|Le|Van|Von|Fitz|O)[A-Z][a-z]+|[A-Z]{2,}(?:s|ed|ing)")
_CASED_NAMES = {
    "LaTeX": "latex",
    "BibTeX": "bib tek",
    "TeX": "tek",
    "YoY": "year over year",
    "QoQ": "quarter over quarter",
    "YouTuber": "youtuber",
    "YouTubers": "youtubers",
    "LinkedIn": "linked in",
    "NumPy": "num pie",
    "SciPy": "sigh pie",
    "PyTorch": "pie torch",
    "PyPI": "pie p i",
    "PostgreSQL": "postgres q l",
    "LLaMA": "llama",
    "LoRA": "lora",
    "QLoRA": "q lora",
    "RoPE": "rope",
    "RoBERTa": "roberta",
    "MoE": "m o e",
    "CoT": "c o t",
    "ReLU": "re lu",
    "SaaS": "sass",
    "PaaS": "pass",
    "IaaS": "i _a _a s",
    "JoAnn": "joann",
    "LeAnn": "leann",
}
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
        if separator == "-" and before.core.isupper() and _NUMBER_S.fullmatch(part):  # F-16s
            *few, last = _part(part[:-1], before)
            words += [*few, last + "'s"]
        else:
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
    part = _OWNED.sub("", part)
    if _LETTERS.fullmatch(part):
        return _word(part.rstrip("'"), left)
    with_ending = _OWNER.fullmatch(part) or _SEVERAL.fullmatch(part)
    if with_ending and not _DOTTED.fullmatch(part):
        *stem, last = _part(with_ending[1], left)
        return [*stem, last + "'s"]
    dotted = _DOTTED.fullmatch(part)
    if dotted:
        spelled = spell(dotted[1].replace(".", ""))
        return [*spelled[:-1], spelled[-1] + dotted[2]]
    reading = read_number(part, Around(left=left, peek=lambda _: None))
    if reading is not None:
        return list(reading.words)
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
    if len(piece) == 4 and piece.isdecimal() and piece[0] != "0" and not piece.endswith("000"):
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
    if word.endswith("'s") and not word.isupper() and any(letter.isupper() for letter in word[1:-2]):
        reading = _word(word[:-2], left)
        return [*reading[:-1], reading[-1] + "'s"]
    if low in SHORT_KEYS:
        return [SHORT_KEYS[low]]
    roman = numeral_words(word, left)
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
    named = letter == "A" and (left.lower in LETTERED or left.lower in NUMBERED)
    roman = numeral_words(letter, left)
    return roman if roman is not None else spell(letter) if named else [letter.lower()]


def _stem(word: str) -> tuple[str, str]:
    """NASA's -> NASA and its clitic; CDs -> CD, which sounds the same."""
    if word.lower().endswith("'s"):
        return word[:-2], "'s"
    if len(word) > 2 and word.endswith("s") and word[:-1].isupper():
        return word[:-1], "'s"
    return word, ""
