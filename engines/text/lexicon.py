"""How words sound: the teacher's lexicon, its letter rules for words not listed, its parts of speech for homographs.

All three were dumped from CMU Flite, so a word sounds here as the speech model heard it. Phones carry stress as a last
digit ("ax0", "ow1") on vowels. The tables never change after loading and may be shared.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from engines.text.additions import ADDED_WORDS
from engines.text.homographs import HOMOGRAPHS, all_sounds, is_surely_verb, sounds_by_rule
from engines.text.letter_rules import LetterRules, parse_letter_rules
from engines.text.word_tags import WordAt, WordTags, parse_word_tags

_REMEMBERED = 8192  # words that the rules have spoken: a walk through the trees takes some 5 us a letter
_REMEMBERED_LETTERS = 24  # longer ones are no words of the language, and could fill the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    words: dict[str, str]  # "word" -> phones with blanks between
    homographs: dict[str, dict[str, str]]  # word -> part of speech -> phones, where they differ from the usual ones
    rules: LetterRules
    ruled: Callable[[str], tuple[str, ...]]  # what the rules say, remembered
    tags: WordTags

    @classmethod
    def load(cls) -> Lexicon:
        words: dict[str, str] = {}
        homographs: dict[str, dict[str, str]] = {}
        for line in _lines("lexicon.txt.xz"):
            word, _, phones = line.partition(" ")
            if "/" in word:
                word, _, tag = word.partition("/")
                homographs.setdefault(word, {})[tag] = phones
            else:
                words[word] = phones
        words.update(ADDED_WORDS)
        rules = parse_letter_rules(_lines("letter_rules.txt.xz"))
        return cls(
            words=words,
            homographs=homographs,
            rules=rules,
            ruled=lru_cache(_REMEMBERED)(rules.pronounce),
            tags=parse_word_tags(_lines("word_tags.txt.xz")),
        )

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def readings(self, word: str) -> list[tuple[str, ...]]:
        """Every way `pronounce` may say a word, whatever stands around it."""
        others = [*self.homographs.get(word, {}).values(), *(all_sounds(word) if word in HOMOGRAPHS else ())]
        return [self.pronounce(word), *(tuple(listed.split(" ")) for listed in others)]

    def pronounce(self, word: str, word_at: WordAt | None = None, near: WordAt | None = None) -> tuple[str, ...]:
        """Phones of a lower-case word, () when it has no letter. `word_at` shows the words around it, `near` those that
        no pause parts from it."""
        if near is not None and word in HOMOGRAPHS:
            sounds = sounds_by_rule(word, near)
            if sounds is not None:
                return tuple(sounds.split(" "))
        listed = self.words.get(word)
        if listed is None:
            return self.ruled(word) if len(word) <= _REMEMBERED_LETTERS else self.rules.pronounce(word)
        if word_at is not None and word in self.homographs:
            tagged = self.homographs[word]
            verb = near is not None and "v" in tagged and is_surely_verb(word, near)
            listed = tagged.get("v" if verb else self.tags.tag(word_at), listed)
        return tuple(listed.split(" "))


def _lines(name: str) -> list[str]:
    packed = resources.files("engines.text").joinpath("data", name).read_bytes()
    return lzma.decompress(packed).decode().splitlines()
