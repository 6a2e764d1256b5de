"""Any character to the few that the rest of the front end knows: ASCII, and the marks that have a name.

Accents are folded, Greek and Cyrillic are written in Latin letters, pictures and control characters go. Letters and
digits of other scripts cannot be spoken: they are left out and reported.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from engines.text.currencies import SIGNS
from engines.text.marks import MARKS
from engines.text.stars import keep_stars
from engines.text.word_lists import word_list

EM_DASH = "—"
EN_DASH = "–"
_TYPOGRAPHIC = {
    **dict.fromkeys("‘’ʼ′‛`´＇", "'"),
    **dict.fromkeys("“”„«»″‟〝〞", '"'),
    **dict.fromkeys("‐‑‒−﹣－", "-"),
    **dict.fromkeys("—―⸺", EM_DASH),
    **dict.fromkeys("。．", "."),
    **dict.fromkeys("、，", ","),
    "–": EN_DASH,
    "…": "...",
    "¡": "",
    "¿": "",
    "•": "-",
    "·": "-",
    "⁄": "/",
    "؟": "?",
    "،": ",",
}
_LATIN = dict(
    zip(
        word_list("ß æ œ ø đ ð þ ł ı ħ ŋ ə ſ ŧ ƒ"),
        word_list("ss ae oe o d th th l i h ng a s t f"),
    )
)
_GREEK = dict(
    zip(
        word_list("α β γ δ ε ζ η θ ι κ λ μ ν ξ ο π ρ σ ς τ υ φ χ ψ ω"),
        word_list("a v g d e z i th i k l m n x o p r s s t i f h ps o"),
    )
)
_CYRILLIC = dict(
    zip(
        word_list("а б в г д е ж з и й к л м н о п р с т у ф х ц ч ш щ ы э ю я є і ї ґ ђ ј љ њ ћ џ ў ѓ ќ ѕ"),
        word_list(
            "a b v g d e zh z i y k l m n o p r s t u f kh ts ch sh shch y e yu ya ye i yi g j y ly ny ch j u g k dz"
        ),
    )
)
_LETTERS = _LATIN | _GREEK | _CYRILLIC | {"ъ": "", "ь": "", "ё": "yo"}
GREEK_NAMES = dict(
    zip(
        word_list("α β γ δ ε ζ η θ ι κ λ μ ν ξ ο π ρ σ τ υ φ χ ψ ω"),
        word_list(
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon "
            "phi chi psi omega"
        ),
    )
)


_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+"))
_POWER = re.compile("(?<=[0-9A-Za-z)])(?![²³](?![⁰¹²³⁴⁵⁶⁷⁸⁹]))([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_FOOTNOTE = re.compile("(?<=[A-Za-z]{2})[⁰¹⁴⁵⁶⁷⁸⁹]+$")
MINUS = "−"  # by itself; glued to a number it is a hyphen like others
_OHM_SIGN = "\u2126"  # which is a Greek letter too
OHM = "Ω"  # by itself; its neighbours say whether it is a unit
_OHMS = re.compile(r"^(?=.)([0-9.,]*)([mkKMG]?)Ω(?<=..)(?=[^\w]*$)")
_AROUND = ".,;:!?()[]{}\"'*"
_MICRO = re.compile("(?<![A-Za-zΑ-ω])μ(?=(?:m|s|g|l|L|A|V|W|F|H|mol|Sv)(?![A-Za-z]))")
# A Greek letter by itself is a symbol; with Greek letters beside it, or more than one Latin, it is part of a word.
_SYMBOL = re.compile("(?<![Ͱ-Ͽἀ-῿])(?<![A-Za-z]{2})([Α-Ωα-ω])(?![Ͱ-Ͽἀ-῿]|[A-Za-z]{2})")
# Without their accent they would be other words.
_ACCENTED = re.compile("(?<![a-z])(r[eé]sum|ros|expos|p[aâ]t)é(?=s?(?![a-z]))", re.IGNORECASE)


def _named_greek(found: re.Match[str]) -> str:
    name = GREEK_NAMES.get(found[1].lower(), "")
    text, end = found.string, found.end()
    before = "-" if found.start() and text[found.start() - 1].isalpha() else ""
    return f"{before}{name}-" if text[end : end + 1].isalpha() else before + name


def fold(text: str) -> tuple[str, str]:
    """The text in known characters, and those of its characters that cannot be spoken."""
    if text.isascii() and text.isprintable():
        return text, ""
    if text == MINUS:
        return text, ""
    stars = keep_stars(text)
    if stars is not None:
        return stars, ""
    text = _MICRO.sub("µ", _OHMS.sub(r"\1\2ohm", text.replace(_OHM_SIGN, OHM)))
    if text.strip(_AROUND) == OHM:
        return text, ""
    text = _ACCENTED.sub(r"\1ay", text)
    text = _SYMBOL.sub(_named_greek, text)
    text = _POWER.sub(lambda power: "^" + "".join(_SUPERSCRIPTS[one] for one in power[1]), _FOOTNOTE.sub("", text))
    folded: list[str] = []
    lost: list[str] = []
    for character in text:
        known = _fold_one(character)
        if known is None:
            lost.append(character)
        else:
            folded.append(known)
    return "".join(folded), "".join(lost)


@lru_cache(maxsize=4096)
def _fold_one(character: str) -> str | None:
    """None when it is a letter or digit of a script that we cannot read."""
    if character.isascii():
        return character if character.isprintable() else ""
    for table in (_TYPOGRAPHIC, _LETTERS):
        if character in table:
            return table[character]
    if character in MARKS or character in SIGNS:
        return character
    lower = character.lower()
    if lower in _LETTERS:
        return _LETTERS[lower].capitalize()
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    parts = unicodedata.normalize("NFKD", character)
    if parts != character:
        known = [_fold_one(part) for part in parts]
        if all(part is None for part in known):
            return None
        return "".join(part for part in known if part)
    category = unicodedata.category(character)
    return character if category == "Sm" else None if category[0] in "LN" else ""


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The script that a letter belongs to, by its Unicode name: "Arabic", "Hangul", "Han"."""
    name = unicodedata.name(character, "unknown").split(" ")[0]
    return "Han" if name == "CJK" else name.capitalize()


def script_counts(characters: str) -> dict[str, int]:
    """How many of the characters of a text cannot be spoken, by script."""
    if characters.isascii():
        return {}
    return dict(Counter(script_of(one) for one in characters if _fold_one(one) is None))
