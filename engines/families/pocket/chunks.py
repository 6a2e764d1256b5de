"""Text to chunks: runs of at most 50 tokens that the model speaks one at a time, each as if it were an utterance.

Where a chunk ends depends on the text up to there and on nothing behind it, so text may come in any pieces:

    at . ! ? or ...    once the chunk has 10 tokens
    at , ; or :        once it has 30
    before a word      that would not fit any more

A chunk's last word is written as one that ends a sentence, so only the newest word of an open chunk may still change:
all words before it can be prefilled.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from engines.families.pocket.bundle import TextRules
from engines.families.pocket.tokens import Tokens
from engines.text.abbreviations import TITLES

MOST_TOKENS = 50
_LEAST_OF_SENTENCE, _LEAST_OF_CLAUSE = 10, 30
_LONGEST_WORD = 200  # characters; a longer one is several
_SENTENCE_MARKS, _CLAUSE_MARKS, _WEAK = tuple(".!?…"), tuple(",;:"), ",;:-–—"
_CLOSERS = "\"'”’)]»"
_STRAY_MARK = re.compile(r"([.!?…])\s*[,;:]")
_SPACE = re.compile(r"\s+")


@dataclass(slots=True)
class Chunk:
    ids: list[int] = field(default_factory=list)  # rising; what is here stays
    words: int = 0
    closed: bool = False


class Chunker:
    def __init__(self, rules: TextRules, tokens: Tokens) -> None:
        self._rules, self._tokens = rules, tokens
        self._replaced = str.maketrans(rules.replaced)
        self._open: Chunk | None = None
        self._newest = ""  # the open chunk's newest word, not in its ids yet
        self._partial = ""  # behind the last white space
        self.spoke = False  # a letter or digit was among the words
        self.left_out: dict[str, None] = {}  # words of which no token is known

    def feed(self, text: str) -> list[Chunk]:
        """-> chunks that this began, in order; each fills and closes later."""
        *words, self._partial = _SPACE.split(self._partial + text)
        begun = [chunk for word in words for chunk in self._take(word)]
        while len(self._partial) > _LONGEST_WORD:
            word, self._partial = self._partial[:_LONGEST_WORD], self._partial[_LONGEST_WORD:]
            begun += self._take(word)
        return begun

    def close(self) -> list[Chunk]:
        """What is there is spoken: the word at hand is whole, and the chunk ends behind it."""
        word, self._partial = self._partial, ""
        begun = self._take(word)
        self._end_chunk()
        return begun

    @property
    def pending(self) -> bool:
        """Whether a word has begun and is in no chunk."""
        return bool(self._partial)

    # -- words -----------------------------------------------------------------------------------------------------

    def _take(self, raw: str) -> list[Chunk]:
        """One word, between white space; replacements may make it none or several, and length too."""
        word = _STRAY_MARK.sub(r"\1", raw.translate(self._replaced))
        if self._rules.removes_semicolons:
            word = word.replace(";", ",")
        return [chunk for part in word.split() for piece in self._pieces(part) for chunk in self._add(piece)]

    def _pieces(self, word: str) -> list[str]:
        """Each of fewer tokens than a chunk takes: a full stop and a capital letter may add some."""
        pieces = []
        while word:
            at = self._tokens.cut(word, MOST_TOKENS - 4)
            pieces.append(word[:at])
            word = word[at:]
        return pieces

    def _add(self, word: str) -> list[Chunk]:
        if self._tokens.is_unknown(word):
            self.left_out.setdefault(word)
            return []
        begun, has_sound = [], any(letter.isalnum() for letter in word)
        self.spoke |= has_sound
        if self._open is not None and self._size(word) > MOST_TOKENS:
            self._end_chunk()
        if self._open is None:
            if not has_sound:
                return []  # a mark with nothing before it
            self._open = Chunk()
            begun.append(self._open)
            if self._rules.capitalises:
                word = word[0].upper() + word[1:]
        else:
            self._settle(self._newest)
        self._newest = word
        self._open.words += 1
        if self._closes(word):
            self._end_chunk()
        return begun

    def _size(self, word: str) -> int:
        """Tokens of the open chunk if it ended with this word."""
        assert self._open is not None
        newest, last = self._tokens.ids(self._newest), self._tokens.ids(self._final(word))
        return len(self._open.ids) + len(newest) + len(last)

    def _settle(self, word: str) -> None:
        assert self._open is not None
        self._open.ids += self._tokens.ids(word)

    def _end_chunk(self) -> None:
        if self._open is not None:
            self._settle(self._final(self._newest))
            self._open.closed = True
        self._open, self._newest = None, ""

    # -- marks -----------------------------------------------------------------------------------------------------

    def _closes(self, word: str) -> bool:
        assert self._open is not None
        core, size = word.rstrip(_CLOSERS), len(self._open.ids) + len(self._tokens.ids(word))
        if core.endswith(_SENTENCE_MARKS):
            return size >= _LEAST_OF_SENTENCE and not _is_short_form(core)
        return core.endswith(_CLAUSE_MARKS) and size >= _LEAST_OF_CLAUSE

    def _final(self, word: str) -> str:
        """The word as a chunk's last: with a mark that ends a sentence. A weaker mark gives way to it."""
        if not self._rules.adds_full_stop:
            return word
        core = word.rstrip(_CLOSERS)
        closers = word[len(core) :]
        if core.endswith(_SENTENCE_MARKS):
            return word
        if core.endswith(tuple(_WEAK)):
            return core.rstrip(_WEAK) + "." + closers
        return word + "."


def _is_short_form(word: str) -> bool:
    """A title or an initial, whose full stop ends no sentence."""
    core = word.rstrip(".").lstrip("\"'“‘([«")
    return word.endswith(".") and (core.lower() in TITLES or (len(core) == 1 and core.isupper() and core != "I"))


def most_frames(tokens: int, frame_s: float) -> int:
    """That a chunk of so many tokens may last: a third of a second each, and two seconds."""
    return math.ceil((tokens / 3 + 2) / frame_s)


def frames_after_end(chunk: Chunk, recommended: int | None) -> int:
    """From the frame whose end logit rose on: few words are cut short more easily."""
    if recommended is not None:
        return recommended
    return (3 if chunk.words <= 4 else 1) + 2
