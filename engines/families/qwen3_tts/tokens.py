"""Text ids as text arrives: an id is given out once no later text can change it, so cutting text changes nothing.

Byte pairs merge only inside a piece of the pre-tokenizer, and later text can change only the last piece, or compose
with the characters behind the last starter (NFC). Ids come in whole words, so that a segment may end before any word.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import BundleError

_ENDS, _WIDE_ENDS, _CLAUSE_ENDS, _WIDE_CLAUSE_ENDS = (
    (".", "!", "?", "…"),
    tuple("。！？"),
    tuple(",;:–—"),
    tuple("，、；："),
)
_OPENERS = "“‘「『（【《〈(["
_CLOSERS = "\"'”’)]»」』）】*_"
_SEEN_CHARS = 24  # of the text before a token
# Scripts without spaces between words: any letter may begin one.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)


class Cut(IntEnum):
    """How well a segment may end before a token."""

    NONE = 0  # inside a word
    WORD = 1
    CLAUSE = 2  # behind a comma and the like, or a line
    SENTENCE = 3  # or a paragraph


class Token(NamedTuple):
    id: int
    cut: Cut
    word: int  # tokens of the word that begins here, at most the longest that a segment takes; 0 inside one


def load_tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BundleError(
            "this bundle needs the tokenizers package: in the checkout, pip install '.[qwen3-tts]'"
        ) from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for an unreadable file
        raise BundleError(f"{path} cannot be read as a tokenizer: {error}") from error


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


class TokenStream:
    def __init__(self, tokenizer: Any, longest: int) -> None:
        """`longest`: tokens of a word; more of it are not waited for."""
        self._tokenizer, self._longest = tokenizer, longest
        self._held = ""
        self._seen = ""  # the last characters that became ids; empty where the text begins anew
        self._word: list[tuple[int, Cut]] = []  # whose end is not known

    @property
    def holds_text(self) -> bool:
        return bool(self._held or self._word)

    def feed(self, text: str) -> list[Token]:
        """Those that are final. White space before the first word is dropped: the model's line break stands there."""
        self._held += text
        if not self._seen:
            self._held = self._held.lstrip()
        cut = self._settled()
        found, self._held = self._held[:cut], self._held[cut:]
        return self._tokens(found)

    def close(self) -> list[Token]:
        """All that is held, without white space at its end. Text that comes later begins anew."""
        found, self._held = self._held.rstrip(), ""
        tokens = [*self._tokens(found), *self._whole_word()]
        self._seen = ""
        return tokens

    def _settled(self) -> int:
        """How many characters later text cannot change."""
        starter = len(self._held) - 1
        while starter > 0 and unicodedata.combining(self._held[starter]):
            starter -= 1
        if starter <= 0:
            return 0
        known = unicodedata.normalize("NFC", self._held[:starter])
        self._held = known + self._held[starter:]
        pieces = self._tokenizer.pre_tokenizer.pre_tokenize_str(self._held)
        spoken = len(self._held.rstrip())  # white space behind it is dropped if nothing follows
        return min(len(known), spoken, int(pieces[-1][1][0]))

    def _tokens(self, text: str) -> list[Token]:
        """Of the words that are whole."""
        if not text:
            return []
        text = unicodedata.normalize("NFC", text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        seen, found, places = self._seen + text, list[Token](), [start for start, _ in encoding.offsets]
        for place, (one, (start, end)) in enumerate(zip(encoding.ids, encoding.offsets, strict=True)):
            at = len(self._seen) + start
            split = start in places[max(0, place - 3) : place]  # the bytes of one character start at one place
            cut = Cut.NONE if split else _cut(seen[max(0, at - _SEEN_CHARS) : at], text[start:end])
            if cut is not Cut.NONE or (not split and text[start].isspace()) or len(self._word) >= self._longest:
                found += self._whole_word()
            self._word.append((one, cut))
        self._seen = seen[-_SEEN_CHARS:]
        if self._held and (self._held[0].isspace() or _begins_word(self._seen, self._held)):
            found += self._whole_word()
        return found

    def _whole_word(self) -> list[Token]:
        word, self._word = self._word, []
        sizes = [len(word) if word and word[0][1] is not Cut.NONE else 0] + [0] * len(word)
        return [Token(one, cut, size) for (one, cut), size in zip(word, sizes, strict=False)]


def _cut(before: str, piece: str) -> Cut:
    """Before the characters of a token, behind those."""
    if not before:
        return Cut.WORD
    if not _begins_word(before, piece):
        return Cut.NONE
    ended = before.rstrip()
    gap = before[len(ended) :] + piece[: len(piece) - len(piece.lstrip())]
    ended = ended.rstrip(_CLOSERS)
    if ended.endswith(_WIDE_ENDS) or gap.count("\n") > 1 or (gap and ended.endswith(_ENDS)):
        return Cut.SENTENCE
    if ended.endswith(_WIDE_CLAUSE_ENDS) or "\n" in gap or (gap and ended.endswith(_CLAUSE_ENDS)):
        return Cut.CLAUSE
    return Cut.WORD


def _begins_word(before: str, following: str) -> bool:
    """White space by itself begins none."""
    first = following.lstrip()[:1]
    if not first:
        return False
    if following[0].isspace() or before[-1].isspace():
        return True
    if before[-1] in _OPENERS or not (first.isalnum() or first in _OPENERS):
        return False
    return bool(_UNSPACED.match(before[-1]) or _UNSPACED.match(first))
