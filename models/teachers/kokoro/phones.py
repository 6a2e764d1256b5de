"""Our front end's phones as the tokens that Kokoro was trained on (misaki's alphabet for US English).

Each token knows the phone it belongs to, so the durations that Kokoro chooses are durations of our phones. The front
end stresses function words, which the teacher's own front end leaves unstressed: for the teacher they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.text import VOWELS, FrontEnd, PauseType, Phone
from engines.text.phones import PAUSE

MAX_TOKENS = 510  # rows of a voice pack: more cannot be spoken at once
_SPELLING = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "W", "ax": "ə", "axr": "əɹ", "ay": "I", "b": "b", "ch": "ʧ",
    "d": "d", "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "ᵊl", "em": "ᵊm", "en": "ᵊn", "er": "ɜɹ", "ey": "A", "f": "f",
    "g": "ɡ", "hh": "h", "hv": "h", "ih": "ɪ", "iy": "i", "jh": "ʤ", "k": "k", "l": "l", "m": "m", "n": "n", "nx": "n",
    "ng": "ŋ", "ow": "O", "oy": "Y", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u",
    "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
}  # fmt: skip
_WEAK_ER = "əɹ"
_STRESS = "ˈ"
_MARKS = {PauseType.PLAIN: ",", PauseType.PERIOD: ".", PauseType.QUESTION: "?", PauseType.EXCLAIM: "!"}
_UNSTRESSED = frozenset(
    "a an the and or nor but if as at by for from in of on to with than that i you he she it we they me him her us "
    "them my your his its our their is am are was were be been has have had do does did can could will would shall "
    "should may might must i'm you're he's she's it's we're they're i've you've we've they've i'll you'll he'll she'll "
    "it'll we'll they'll i'd you'd he'd she'd we'd they'd that's there's".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """A text as tokens. K tokens, P phones."""

    phones: list[Phone]
    symbols: str  # [K] one character a token
    owner: list[int | None]  # [K] index of the phone; None between words


def spell(front_end: FrontEnd, text: str) -> Spelling:
    """Raises UnspeakableText when nothing in it can be spoken."""
    phones = front_end.phones(text)
    lone = sum(phone.starts_word for phone in phones) == 1  # "A." is an answer, and an unstressed one is not heard
    symbols: list[str] = []
    owner: list[int | None] = []
    for index, phone in enumerate(phones):
        if phone.symbol == PAUSE:
            assert phone.pause is not None
            if symbols:
                symbols.append(_MARKS[phone.pause])
                owner.append(index)
            continue
        token = text[phone.start : phone.end]
        clitic = "'" in token and index > 0 and phones[index - 1].word_index == phone.word_index  # it's: one word
        if phone.starts_word and symbols and not clitic:
            symbols.append(" ")
            owner.append(None)
        spelt = _spelt(phone, weak=not lone and token.strip(".,;:!?\"()'-").lower() in _UNSTRESSED)
        symbols.extend(spelt)
        owner.extend([index] * len(spelt))
    return Spelling(phones=phones, symbols="".join(symbols), owner=owner)


def is_stressed(phone: Phone) -> bool:
    return phone.symbol in VOWELS and bool((phone.id - 1) & 2)


def _spelt(phone: Phone, *, weak: bool) -> str:
    if is_stressed(phone) and not weak:
        return _STRESS + _SPELLING[phone.symbol]
    return _WEAK_ER if phone.symbol == "er" else _SPELLING[phone.symbol]
