"""Pronunciation dictionaries: how a caller wants words spoken, as a respelling or as phones.

A dictionary is data: parsed once, frozen, packed in parts that cross to another process as bytes; `Phrases` finds its
entries in a text. What is wrong with an entry is told with its number and what would be right.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engines.text.context import CLOSING, MAX_TOKEN_CHARS, OPENING, STOPS
from engines.text.errors import BadPronunciation
from engines.text.folding import fold
from engines.text.phone_alphabets import Word, words_from_arpabet, words_from_ipa, words_from_ours
from engines.text.pls import alphabet_field

MAX_ENTRIES = 10_000
MAX_WORDS = 8  # of an entry: a token that may begin one waits for at most seven more
MAX_SAY_CHARS = 200
MAX_PHONES_CHARS = 500  # some 150 phones
PART_ENTRIES = 32  # unpacked at once, in some 0.2 ms
_SHOWN_CHARS = 60  # of what is wrong
_ALPHABETS = {"phones": words_from_ours, "arpabet": words_from_arpabet, "ipa": words_from_ipa}
_KEYS = frozenset({"word", "say", *_ALPHABETS, "case_sensitive"})


class Entry(NamedTuple):
    """Exactly one of `say` and `phones` is given."""

    words: tuple[str, ...]  # as written, marks around them taken off
    stopped: bool = False  # written with a full stop, which belongs to it
    case_sensitive: bool = False
    say: str | None = None
    phones: tuple[Word, ...] | None = None

    @property
    def written(self) -> str:
        return " ".join(self.words) + "." * self.stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class PronunciationDictionary:
    name: str
    version: str  # of its content
    num_entries: int
    longest: int  # at most so many characters are spoken for one entry; a bound that is cheap to know
    parts: tuple[bytes, ...]  # PART_ENTRIES entries each, pickled

    @classmethod
    def of(cls, name: str, version: str, entries: list[Entry]) -> PronunciationDictionary:
        parts = (entries[first : first + PART_ENTRIES] for first in range(0, len(entries), PART_ENTRIES))
        packed = tuple(pickle.dumps(part, protocol=pickle.HIGHEST_PROTOCOL) for part in parts)
        longest = max(map(_spoken_at_most, entries), default=0)
        return cls(name=name, version=version, num_entries=len(entries), longest=longest, parts=packed)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(entry for part in self.parts for entry in pickle.loads(part))

    @property
    def packed_bytes(self) -> int:
        return sum(map(len, self.parts))


def _spoken_at_most(entry: Entry) -> int:
    """A letter may be spelled ("a" is "_a "), a digit or a mark have a name."""
    if entry.phones is not None:
        return sum(map(len, entry.phones))
    return sum(3 if sign.isalpha() else 1 if sign.isspace() else 18 for sign in entry.say or "")


def parse_dictionary(data: Mapping[str, Any], name: str) -> PronunciationDictionary:
    """From the JSON of docs/pronunciation.md: {"entries": [...]}, or ElevenLabs' {"rules": [...]}."""
    listed = data.get("entries", data.get("rules")) if isinstance(data, Mapping) else None
    if not isinstance(listed, list):
        raise BadPronunciation(f'dictionary {name!r} must be an object with a list "entries" (or "rules")')
    if len(listed) > MAX_ENTRIES:
        raise BadPronunciation(f"dictionary {name!r} has {len(listed)} entries, the limit is {MAX_ENTRIES}")
    entries = []
    for number, raw in enumerate(listed, 1):
        if number % PART_ENTRIES == 0:
            time.sleep(0)  # a thread that parses lets others run
        try:
            entries.append(_entry(_from_rule(raw) if "entries" not in data else raw))
        except BadPronunciation as error:
            word = raw.get("word", raw.get("string_to_replace")) if isinstance(raw, Mapping) else raw
            raise BadPronunciation(f"dictionary {name!r}, entry {number} ({_shown(word)}): {error}") from error
    canonical = json.dumps(listed, sort_keys=True, ensure_ascii=True)
    version = hashlib.sha256(canonical.encode()).hexdigest()[:16]
    return PronunciationDictionary.of(name, version, entries)


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
        raise BadPronunciation(f'"type" must be "alias" or "phoneme", got {_shown(raw.get("type"))}')
    return entry | {alphabet_field(str(raw.get("alphabet"))): raw.get("phoneme")}


def _entry(raw: object) -> Entry:
    if not isinstance(raw, Mapping):
        raise BadPronunciation('an entry must be an object such as {"word": "Nguyen", "say": "win"}')
    unknown = set(raw) - _KEYS
    if unknown:
        raise BadPronunciation(f"unknown field {_shown(min(unknown))}; the fields are {', '.join(sorted(_KEYS))}")
    given = [key for key in ("say", *_ALPHABETS) if raw.get(key) is not None]
    if len(given) != 1:
        raise BadPronunciation(f"give exactly one of say, phones, arpabet and ipa; got {' and '.join(given) or 'none'}")
    value, case_sensitive = raw[given[0]], raw.get("case_sensitive", False)
    if not isinstance(value, str) or not isinstance(case_sensitive, bool):
        raise BadPronunciation(f'{given[0]!r} must be a text, and "case_sensitive" true or false')
    words, stopped = _written_words(raw.get("word"))
    if given[0] == "say":
        return Entry(words=words, stopped=stopped, case_sensitive=case_sensitive, say=_respelling(value))
    if len(value) > MAX_PHONES_CHARS:
        raise BadPronunciation(f"its {given[0]} has {len(value)} characters, the limit is {MAX_PHONES_CHARS}")
    phones = _ALPHABETS[given[0]](value)
    return Entry(words=words, stopped=stopped, case_sensitive=case_sensitive, phones=phones)


def _written_words(word: object) -> tuple[tuple[str, ...], bool]:
    if not isinstance(word, str) or not word.strip():
        raise BadPronunciation('"word" must be the word as it is written in the text')
    parts = word.split()
    if len(parts) > MAX_WORDS:
        raise BadPronunciation(f"{len(parts)} words, the limit is {MAX_WORDS}")
    longest = max(parts, key=len)
    if len(longest) > MAX_TOKEN_CHARS:
        raise BadPronunciation(f"a word of {len(longest)} characters, the limit is {MAX_TOKEN_CHARS}")
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
        raise BadPronunciation(f"its respelling {_shown(say)} cannot be spoken: write it in English letters")
    return say


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
