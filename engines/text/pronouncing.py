"""Spoken words to phones, left to right, as the teacher says them in running speech.

Three things look beyond the word itself: homographs (two words ahead at most), "the" before a vowel (one), and clitics
(the phone before). A word goes out as soon as what it looks at is there, the phones that all its readings begin with
even before. A pause ends every look ahead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engines.text.context import NotYet
from engines.text.lexicon import Lexicon
from engines.text.phones import VOWELS, PauseType, Phone, pause, phone_id

_SIBILANTS = frozenset(["s", "z", "sh", "zh", "ch", "jh"])
_VOICELESS = frozenset(["p", "t", "k", "f", "th"])
_NEAR = 8  # words back that a homograph may ask for
CLITICS = {"'s": "z", "'d": "d", "'ll": "l", "'ve": "v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenWord:
    """A word as the teacher splits them ("it", "'s"), and its source token."""

    text: str
    word_index: int
    start: int
    end: int
    sounds: tuple[str, ...] = ()  # as the caller wants it spoken; empty: as the lexicon says
    rate: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    kind: PauseType
    at: int
    hold_s: float | None = None  # how long, where the text says so


def split_clitic(word: str) -> list[str]:
    """it's -> it, 's; isn't -> isnt; o'clock -> oclock."""
    stem, mark, tail = word.rpartition("'")
    if mark and stem and f"'{tail}" in CLITICS:
        return [*split_clitic(stem), f"'{tail}"]
    return [word.replace("'", "")]


class Pronouncer:
    """Owned by one stream."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._waiting: deque[SpokenWord | Break] = deque()
        self._before: tuple[str | None, str | None] = (None, None)  # two words back, one word back
        self._near: deque[str] = deque(maxlen=_NEAR)  # words since the last pause
        self._last_symbol: str | None = None
        self._closed = False
        self._begun = 0  # phones of the first word waiting that are out already
        self.unheld_s = 0.0  # breaks before the first word: audio begins with that word

    @property
    def spoken_any(self) -> bool:
        return self._last_symbol is not None

    def add(self, item: SpokenWord | Break) -> None:
        self._waiting.append(item)

    def drain(self) -> list[Phone]:
        """Phones that no later word can change."""
        phones: list[Phone] = []
        while self._waiting:
            item = self._waiting[0]
            if isinstance(item, Break):
                self._near.clear()
                if self._last_symbol is not None and (self._last_symbol != "pau" or item.hold_s is not None):
                    phones.append(self._pause(item))
                elif self._last_symbol is None:
                    self.unheld_s += item.hold_s or 0.0
            else:
                try:
                    sounds = self._sounds(0)
                except NotYet:
                    phones += self._say(item, self._sure_sounds(item.text))
                    break
                phones += self._say(item, sounds)
                self._begun = 0
                if sounds:
                    self._before = (self._before[1], item.text)
                    self._near.append(item.text)
            self._waiting.popleft()
        return phones

    def close(self, at: int) -> list[Phone]:
        """Everything waiting, as if the text ended here, and a closing pause. What follows starts afresh."""
        self._closed = True
        phones = self.drain()
        self._closed = False
        if self._last_symbol is not None and self._last_symbol != "pau":
            phones.append(self._pause(Break(kind=PauseType.PLAIN, at=at)))
        self._before = (None, None)
        self._near.clear()
        return phones

    def _say(self, word: SpokenWord, sounds: tuple[str, ...]) -> list[Phone]:
        """The sounds that are not out yet."""
        phones: list[Phone] = []
        if self._begun >= len(sounds):
            return phones
        if self._last_symbol is None:
            phones.append(pause(PauseType.PLAIN, word.start))
        for index, marked in enumerate(sounds[self._begun :], self._begun):
            symbol = marked.rstrip("012")
            stressed = marked[-1] == "1" and symbol in VOWELS
            identity = phone_id(symbol, stressed=stressed, word_start=index == 0)
            phones.append(Phone(identity, symbol, word.word_index, word.start, word.end, None, word.rate))
        self._last_symbol = phones[-1].symbol
        self._begun = len(sounds)
        return phones

    def _sure_sounds(self, word: str) -> tuple[str, ...]:
        """What every reading of a word begins with."""
        if word == "the":
            return ("dh",)
        readings = self._lexicon.readings(word)
        same = 0
        while all(len(reading) > same and reading[same] == readings[0][same] for reading in readings):
            same += 1
        return readings[0][:same]

    def _pause(self, item: Break) -> Phone:
        self._last_symbol = "pau"
        return pause(item.kind, item.at, item.hold_s)

    def _word_at(self, place: int) -> str | None:
        """The word `place` after the first one waiting; None beyond a pause or the end."""
        if place < 0:
            return self._before[place] if place >= -2 else None
        for position in range(1, place + 1):
            if position >= len(self._waiting):
                if self._closed:
                    return None
                raise NotYet
            if isinstance(self._waiting[position], Break):
                return None
        item = self._waiting[place]
        assert isinstance(item, SpokenWord)
        return item.text

    def _near_at(self, place: int) -> str | None:
        """The same, None beyond a pause before it too."""
        if place >= 0:
            return self._word_at(place)
        return self._near[place] if -place <= len(self._near) else None

    def _sounds(self, place: int) -> tuple[str, ...]:
        """Phones, with stress digits, of the word `place` after the first one waiting."""
        word = self._word_at(place)
        assert word is not None
        item = self._waiting[place]
        if isinstance(item, SpokenWord) and item.sounds:
            return item.sounds
        if word in CLITICS:
            return self._clitic(word)
        if word == "the":
            return ("dh", "iy0" if self._vowel_follows(place) else "ax0")
        sounds = self._lexicon.pronounce(
            word,
            lambda offset: self._word_at(place + offset),
            lambda offset: self._near_at(place + offset),
        )
        return sounds or tuple(phone for letter in word for phone in self._lexicon.pronounce(letter))

    def _vowel_follows(self, place: int) -> bool:
        following = self._word_at(place + 1)
        if following is None or following in CLITICS:
            return False
        first = "dh" if following == "the" else self._sounds(place + 1)[0]
        return first.rstrip("012") in VOWELS

    def _clitic(self, clitic: str) -> tuple[str, ...]:
        last = self._last_symbol
        if last is None or last == "pau":
            return (CLITICS[clitic],)
        if clitic != "'s":
            return (CLITICS[clitic],) if last in VOWELS else ("ax0", CLITICS[clitic])
        if last in _SIBILANTS:
            return ("ax0", "z")
        return ("s",) if last in _VOICELESS else ("z",)
