"""The entries of a dictionary by the words they replace: the longest phrase that the text goes on with, in one walk.

    entries   new york city, new york, york        begins  "new"  "new york"
    text      New York is      "new" begins a phrase -> "new york" begins one and is one -> "new york is" is none

A walk costs a look-up a word and at most MAX_WORDS of them, whatever the entries are. Entries are unpacked a part at a
time, since a dictionary may hold thousands and the loop that reads text must not stand still for them.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from engines.text.folding import fold
from engines.text.pronunciation import Entry, PronunciationDictionary

Following = Callable[[int], tuple[str, str, str] | None]
MAX_SHELVED_BYTES = 16 * 2**20  # of packed entries; what is built of them takes some four times as much


class Phrases:
    """One dictionary. `match` wants all of it there: `ready`."""

    def __init__(self, dictionary: PronunciationDictionary) -> None:
        self.name = dictionary.name
        self.packed_bytes = dictionary.packed_bytes
        self.foreign: set[str] = set()  # words that only an entry can say
        self._parts = deque(dictionary.parts)
        self._begins: set[str] = set()  # phrases that a longer one goes on from
        self._exact: dict[tuple[str, bool], Entry] = {}  # by phrase as written and "stopped"
        self._any_case: dict[tuple[str, bool], Entry] = {}  # the same in small letters

    @property
    def ready(self) -> bool:
        return not self._parts

    def read_on(self) -> None:
        """Unpacks one part."""
        for entry in pickle.loads(self._parts.popleft()):
            self._add(entry)

    def match(self, core: str, closing: str, following: Following) -> tuple[Entry, int] | None:
        """The longest entry that begins with a token, and how many following tokens it takes. See `match`."""
        found: tuple[Entry, int] | None = None
        written, small, last, taken = core, core.lower(), closing, 0
        while True:
            entry = self._whole(written, small, stopped=last.startswith("."))
            found = found if entry is None else (entry, taken)
            if last or small not in self._begins:
                return found
            after = following(taken + 1)
            if after is None or after[0]:
                return found
            written, small, last, taken = f"{written} {after[1]}", f"{small} {after[1].lower()}", after[2], taken + 1

    def _whole(self, written: str, small: str, *, stopped: bool) -> Entry | None:
        """Those with a full stop first, then those that heed case."""
        for stop in (True, False) if stopped else (False,):
            entry = self._exact.get((written, stop)) or self._any_case.get((small, stop))
            if entry is not None:
                return entry
        return None

    def _add(self, entry: Entry) -> None:
        small = ""
        for number, word in enumerate(entry.words):
            if number:
                self._begins.add(small)
            small = f"{small} {word.lower()}" if number else word.lower()
            if not word.isascii() and fold(word.lower())[1]:
                self.foreign.add(word.lower())
        if entry.case_sensitive:
            self._exact.setdefault((" ".join(entry.words), entry.stopped), entry)
        else:
            self._any_case.setdefault((small, entry.stopped), entry)


class Shelf:
    """Dictionaries that were asked for lately, the same for every stream that asks. Owned by one thread."""

    def __init__(self, max_bytes: int = MAX_SHELVED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, str], Phrases] = OrderedDict()

    def get(self, dictionary: PronunciationDictionary) -> Phrases:
        key = (dictionary.name, dictionary.version)
        found = self._kept.pop(key, None)
        if found is None:
            found = Phrases(dictionary)
            self._bytes += found.packed_bytes
        self._kept[key] = found
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].packed_bytes
        return found


def match(dictionaries: Iterable[Phrases], core: str, closing: str, following: Following) -> tuple[Entry, int] | None:
    """The entry for a token, and how many following tokens it takes; the first dictionary that has one decides.

    `core` is the token without the marks around it, `closing` those behind; `following(n)` is the nth token after, as
    marks before, core, marks behind, or None beyond a paragraph or the end. It may raise NotYet.
    """
    for phrases in dictionaries:
        found = phrases.match(core, closing, following)
        if found is not None:
            return found
    return None
