"""Text ids as text arrives: an id is given out once no later text can change it, so cutting text changes nothing.

Byte pairs merge only inside a piece of the pre-tokenizer, and later text can change only the last piece, or compose
with the characters behind the last starter (NFC).
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import BundleError

_ENDS, _WIDE_ENDS = set(".!?"), set("。！？")


class Token(NamedTuple):
    id: int
    begins_sentence: bool  # the text before it ended a sentence


def load_tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BundleError("this bundle needs the tokenizers package: in the checkout, pip install '.[qwen3-tts]'") from error
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception for an unreadable file
        raise BundleError(f"{path} cannot be read as a tokenizer: {error}") from error


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


class TokenStream:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._held = ""
        self._last = ""  # character that was given out

    @property
    def holds_text(self) -> bool:
        return bool(self._held)

    def feed(self, text: str) -> list[Token]:
        """Those that are final. White space before the first word is dropped: the model's line break stands there."""
        self._held += text
        if not self._last:
            self._held = self._held.lstrip()
        cut = self._settled()
        found, self._held = self._held[:cut], self._held[cut:]
        return self._tokens(found)

    def close(self) -> list[Token]:
        """All that is held, without white space at its end. Text that comes later begins anew."""
        found, self._held = self._held.rstrip(), ""
        tokens, self._last = self._tokens(found), ""
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
        if not text:
            return []
        text = unicodedata.normalize("NFC", text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        places = [start for start, _ in encoding.offsets]
        begins = [False] * len(places)
        for place, start in enumerate(places):  # the bytes of one character start at one place
            begins[place] = self._begins(text, start) and start not in places[max(0, place - 3) : place]
        self._last = text[-1]
        return [Token(*one) for one in zip(encoding.ids, begins, strict=True)]

    def _begins(self, text: str, start: int) -> bool:
        """Whether what stands before `start` ended a sentence."""
        before = text[start - 1] if start else self._last
        return before in _WIDE_ENDS or (before in _ENDS and text[start].isspace())
