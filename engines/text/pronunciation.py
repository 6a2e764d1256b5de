"""Pronunciation dictionaries: how a caller wants words said, as a respelling or as phones.

A dictionary is data: parsed once, frozen, picklable, shared. `match` asks for following tokens only where an entry of
several words begins with this one. What is wrong with an entry is told with its number and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from engines.text.context import CLOSING, OPENING, STOPS
from engines.text.errors import BadPronunciation
from engines.text.folding import fold
from engines.text.phone_alphabets import Word, words_from_arpabet, words_from_ipa, words_from_ours
from engines.text.pls import alphabet_field

MAX_ENTRIES = 10_000
MAX_WORDS = 8  # of an entry: a token that may begin one waits for at most seven more
MAX_SAY_CHARS = 200
_ALPHABETS = {"phones": words_from_ours, "arpabet": words_from_arpabet, "ipa": words_from_ipa}
Following = Callable[[int], tuple[str, str, str] | None]
_KEYS = frozenset({"word", "say", *_ALPHABETS, "case_sensitive"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Exactly one of `say` and `phones` is given."""

    words: tuple[str, ...]  # as written, marks around them taken off
    stopped: bool = False  # written with a full stop, which belongs to it
    case_sensitive: bool = False
    say: str | None = None
    phones: tuple[Word, ...] | None = None

    @property
    def key(self) -> str:
        return self.words[0].lower()

    def says(self, words: tuple[str, ...]) -> bool:
        if self.case_sensitive:
            return words == self.words
        return all(ours.lower() == theirs.lower() for ours, theirs in zip(self.words, words, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class PronunciationDictionary:
    name: str
    entries: tuple[Entry, ...]
    version: str = ""  # of its content
    by_first: dict[str, tuple[Entry, ...]] = field(init=False, repr=False, compare=False)
    foreign: frozenset[str] = field(init=False, repr=False, compare=False)  # words that only an entry can say

    def __reduce__(self) -> tuple[Any, ...]:
        """Crossing to another process costs its bytes; the other side makes objects of them once per dictionary."""
        return _restored, (self.name, self.version, _packed(self.entries))

    def __post_init__(self) -> None:
        """More words first, then those that heed case, then as listed."""
        index: dict[str, list[Entry]] = {}
        for entry in self.entries:
            index.setdefault(entry.key, []).append(entry)
        ordered = {
            key: tuple(sorted(found, key=lambda one: (-len(one.words), not one.stopped, not one.case_sensitive)))
            for key, found in index.items()
        }
        object.__setattr__(self, "by_first", ordered)
        words = {word.lower() for entry in self.entries for word in entry.words if not word.isascii()}
        object.__setattr__(self, "foreign", frozenset(word for word in words if fold(word)[1]))


@lru_cache(maxsize=64)
def _packed(entries: tuple[Entry, ...]) -> bytes:
    return pickle.dumps(entries)


@lru_cache(maxsize=64)
def _restored(name: str, version: str, packed: bytes) -> PronunciationDictionary:
    return PronunciationDictionary(name=name, entries=pickle.loads(packed), version=version)


def parse_dictionary(data: Mapping[str, Any], name: str) -> PronunciationDictionary:
    """From the JSON of docs/pronunciation.md: {"entries": [...]}, or ElevenLabs' {"rules": [...]}."""
    listed = data.get("entries", data.get("rules")) if isinstance(data, Mapping) else None
    if not isinstance(listed, list):
        raise BadPronunciation(f'dictionary {name!r} must be an object with a list "entries" (or "rules")')
    if len(listed) > MAX_ENTRIES:
        raise BadPronunciation(f"dictionary {name!r} has {len(listed)} entries, the limit is {MAX_ENTRIES}")
    entries = []
    for number, raw in enumerate(listed, 1):
        try:
            entries.append(_entry(_from_rule(raw) if "entries" not in data else raw))
        except BadPronunciation as error:
            word = raw.get("word", raw.get("string_to_replace")) if isinstance(raw, Mapping) else raw
            raise BadPronunciation(f"dictionary {name!r}, entry {number} ({word!r}): {error}") from error
    canonical = json.dumps(listed, sort_keys=True, ensure_ascii=True)
    version = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return PronunciationDictionary(name=name, entries=tuple(entries), version=version)


def match(
    dictionaries: Iterable[PronunciationDictionary], core: str, closing: str, following: Following
) -> tuple[Entry, int] | None:
    """The entry for a token, and how many following tokens it takes; the first dictionary that has one decides.

    `core` is the token without the marks around it, `closing` those behind; `following(n)` is the nth token after, as
    marks before, core, marks behind, or None beyond a paragraph or the end. It may raise NotYet.
    """
    for dictionary in dictionaries:
        for entry in dictionary.by_first.get(core.lower(), ()):
            words: tuple[str, ...] = (core,)
            last = closing
            while len(words) < len(entry.words) and last == "":
                after = following(len(words))
                if after is None or after[0] or after[1].lower() != entry.words[len(words)].lower():
                    break
                words, last = (*words, after[1]), after[2]
            whole = len(words) == len(entry.words) and entry.says(words)
            if whole and (last.startswith(".") or not entry.stopped):
                return entry, len(words) - 1
    return None


def split_marks(text: str) -> tuple[str, str, str]:
    """Marks before, core, marks behind."""
    body = text.lstrip(OPENING)
    core = body.rstrip(CLOSING + STOPS)
    return text[: len(text) - len(body)], core, body[len(core) :]


def _from_rule(raw: object) -> object:
    """A rule as ElevenLabs writes it, as an entry; theirs heed case unless they say otherwise."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("string_to_replace"), str):
        raise BadPronunciation('a rule needs "string_to_replace", and "alias" or "phoneme" with "alphabet"')
    heeds_case = raw.get("case_sensitive")
    entry = {"word": raw["string_to_replace"], "case_sensitive": True if heeds_case is None else heeds_case}
    if raw.get("type") == "alias":
        return entry | {"say": raw.get("alias")}
    if raw.get("type") != "phoneme":
        raise BadPronunciation(f'"type" must be "alias" or "phoneme", got {raw.get("type")!r}')
    return entry | {alphabet_field(str(raw.get("alphabet"))): raw.get("phoneme")}


def _entry(raw: object) -> Entry:
    if not isinstance(raw, Mapping):
        raise BadPronunciation('an entry must be an object such as {"word": "Nguyen", "say": "win"}')
    unknown = set(raw) - _KEYS
    if unknown:
        raise BadPronunciation(f"unknown field {min(unknown)!r}; the fields are {', '.join(sorted(_KEYS))}")
    given = [key for key in ("say", *_ALPHABETS) if raw.get(key) is not None]
    if len(given) != 1:
        raise BadPronunciation(f"give exactly one of say, phones, arpabet and ipa; got {' and '.join(given) or 'none'}")
    value, case_sensitive = raw[given[0]], raw.get("case_sensitive", False)
    if not isinstance(value, str) or not isinstance(case_sensitive, bool):
        raise BadPronunciation(f'{given[0]!r} must be a text, and "case_sensitive" true or false')
    words, stopped = _written_words(raw.get("word"))
    if given[0] == "say":
        return Entry(words=words, stopped=stopped, case_sensitive=case_sensitive, say=_respelling(value))
    phones = _ALPHABETS[given[0]](value)
    return Entry(words=words, stopped=stopped, case_sensitive=case_sensitive, phones=phones)


def _written_words(word: object) -> tuple[tuple[str, ...], bool]:
    if not isinstance(word, str) or not word.strip():
        raise BadPronunciation('"word" must be the word as it is written in the text')
    parts = word.split()
    if len(parts) > MAX_WORDS:
        raise BadPronunciation(f"{len(parts)} words, the limit is {MAX_WORDS}")
    split = [split_marks(known(part)) for part in parts]
    if not all(core for _, core, _ in split):
        raise BadPronunciation("every word needs a letter or digit, not marks alone")
    if any(before for before, _, _ in split[1:]) or any(behind for _, _, behind in split[:-1]):
        raise BadPronunciation("there may be no marks between its words: a pause would part them in the text too")
    return tuple(core for _, core, _ in split), split[-1][2].startswith(".")


def known(text: str) -> str:
    """As the reader sees it: folded, unless letters would be lost."""
    folded, lost = fold(text)
    return text if lost else folded


def _respelling(say: str) -> str:
    if len(say) > MAX_SAY_CHARS:
        raise BadPronunciation(f"its respelling has {len(say)} characters, the limit is {MAX_SAY_CHARS}")
    folded, lost = fold(say)
    if lost or not any(letter.isalnum() for letter in folded):
        raise BadPronunciation(f"its respelling {say!r} cannot be spoken: write it in English letters")
    return say
