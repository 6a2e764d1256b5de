"""Pronunciations as people write them, to the phones that the voices were taught: our own symbols, ARPAbet, IPA.

The result is one tuple of phones per word, stress as a last digit on vowels ("ow1"). What has no counterpart in the
English of the voices is refused by name. A word without any stress mark gets one on its first full vowel.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from engines.text.errors import BadPronunciation
from engines.text.phones import VOWELS
from engines.text.word_lists import word_list

Word = tuple[str, ...]

# The lexicon uses these; the rest of PHONES the voices never heard.
TAUGHT = frozenset(
    word_list("aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh")
)
_NEAR = {  # allophones and relatives: ours and ARPAbet's
    "axr": "er",
    "dx": "t",
    "nx": "n",
    "hv": "hh",
    "ix": "ih",
    "ux": "uw",
    "el": "ax l",
    "em": "ax m",
    "en": "ax n",
    "wh": "w",
}
_IPA_TABLE = """
p p  b b  t t  d d  k k  g g  ɡ g  f f  v v  s s  z z  m m  n n  l l  w w  h hh  θ th  ð dh  ʃ sh  ʒ zh  ŋ ng
ɹ r  ɻ r  r r  j y  ɫ l  ɦ hh  ʍ w  ɾ t  ʔ t  ɕ sh  ʑ zh  ʂ sh  ʐ zh  ç hh  x k  χ k  ɣ g  β v  ɸ f  ʋ v  ʁ r  ʀ r
ɲ n+y  ʎ l+y  ɟ jh  c k  ɬ l  tʃ ch  ʧ ch  dʒ jh  ʤ jh  tɕ ch  dʑ jh  tʂ ch  dʐ jh
i iy  ɪ ih  e ey  ɛ eh  æ ae  a aa  ɑ aa  ɒ aa  ɔ ao  o ow  ʊ uh  u uw  ʌ ah  ə ax  ɐ ax  ɨ ih  ɚ er  ɝ er  ɜ er
y uw  ø er  œ er  ɯ uw  ɤ ah  ɵ ow  ʉ uw
eɪ ey  ei ey  oʊ ow  əʊ ow  ou ow  aɪ ay  ai ay  aʊ aw  au aw  ɔɪ oy  oɪ oy  ɔi oy
ɜr er  ɝr er  ɚr er  ər er  ɜɹ er  ɝɹ er  ɚɹ er  əɹ er
"""  # the nearest taught sound of each; a plus joins two
_IPA = dict(zip(*[iter(unicodedata.normalize("NFD", _IPA_TABLE).split())] * 2, strict=True))
_IPA_LENGTH = re.compile("[ːˑ]")
# Tie bars, aspiration, palatal, labial, velar marks, places and ways of articulation, syllable marks.
_IPA_SILENT = frozenset(".'‿ʰʲʷˠˤ\u035c\u0361\u032a\u032f\u0325\u032c\u031f\u0320\u031d\u031e\u0308\u031a\u0306")
_IPA_SYLLABIC = "\u0329"
_IPA_FORMS = re.compile("|".join(sorted(_IPA, key=len, reverse=True)))
_NASAL = "\u0303"


def words_from_ours(text: str) -> tuple[Word, ...]:
    """ "p aa0 r l aa1 n d ow0"; a bar parts words."""
    return _words(text, lambda part: [phone for sign in part.split() for phone in _symbol(sign, sign, "phones")])


def words_from_arpabet(text: str) -> tuple[Word, ...]:
    """As in the CMU dictionary: "P AA0 R L AA1 N D OW0"; a bar parts words."""
    return _words(
        text, lambda part: [phone for sign in part.split() for phone in _symbol(sign.lower(), sign, "ARPAbet")]
    )


def words_from_ipa(text: str) -> tuple[Word, ...]:
    """ "paɹˈlændoʊ", with or without strokes around; a blank or a bar parts words."""
    return _words(re.sub(r"\s+", "|", text.strip().strip("/[]").strip()), _ipa_word)


def _words(text: str, read: Callable[[str], list[str]]) -> tuple[Word, ...]:
    words = tuple(_stressed(read(part)) for part in text.split("|") if part.strip())
    if not any(words):
        raise BadPronunciation(f"{text!r} holds no phone")
    return words


def _symbol(sign: str, written: str, alphabet: str) -> list[str]:
    base = sign.rstrip("012")
    digit = sign[len(base) :]
    phones = _NEAR.get(base, base).split()
    if not all(phone in TAUGHT for phone in phones) or len(digit) > 1 or (digit and not VOWELS.intersection(phones)):
        known = " ".join(sorted(TAUGHT))
        raise BadPronunciation(
            f"{written!r} is none of the {alphabet} this voice has; they are {known}, vowels with 0, 1 or 2 for stress"
        )
    return [phone + digit if phone in VOWELS else phone for phone in phones]


def _ipa_word(part: str) -> list[str]:
    phones: list[str] = []
    stress, position = "", 0
    text = _IPA_LENGTH.sub("", unicodedata.normalize("NFD", part)).replace("\u0361", "")
    while position < len(text):
        sign = text[position]
        if sign in "ˈˌ":
            stress = "1" if sign == "ˈ" else "2"
        elif sign == _IPA_SYLLABIC and phones:
            phones.insert(len(phones) - 1, "ax0")
        elif sign == _NASAL and phones:
            phones.append("n")
        elif sign not in _IPA_SILENT:
            match = _IPA_FORMS.match(text, position)
            if match is None:
                raise BadPronunciation(
                    f"IPA {sign!r} (U+{ord(sign):04X}) in {part!r} has no sound in this English voice; "
                    "write the nearest English one"
                )
            for phone in _IPA[match.group()].split("+"):
                phones.append(phone + stress if phone in VOWELS else phone)
                stress = "" if phone in VOWELS else stress
            position = match.end() - 1
        position += 1
    return phones


def _stressed(phones: list[str]) -> Word:
    """Digits on all vowels; the weak vowel is never "ah", and someone must bear the stress."""
    marked = any(phone[-1] == "1" for phone in phones)
    done: list[str] = []
    for phone in phones:
        base, digit = phone.rstrip("012"), phone[-1] if phone[-1].isdecimal() else "0"
        if base not in VOWELS:
            done.append(phone)
            continue
        if not marked and base != "ax":
            digit, marked = "1", True
        done.append("ax0" if base == "ah" and digit == "0" else base + digit)
    return tuple(done)
