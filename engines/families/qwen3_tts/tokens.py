"""Text ids as text arrives: an id is given out once no later text can change it, so cutting text changes nothing.

Byte pairs merge only inside a piece of the pre-tokenizer, and later text can change only the last piece, or compose
with the characters behind the last starter (NFC).
"""

from __future__ import annotations

import unicodedata
from typing import Any

from engines.errors import BundleError


def load_tokenizer(path: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BundleError("this bundle needs the tokenizers package: pip install 'parlando[qwen3-tts]'") from error
    try:
        return Tokenizer.from_file(path)
    except Exception as error:  # the library raises plain Exception for an unreadable file
        raise BundleError(f"{path} cannot be read as a tokenizer: {error}") from error


class TokenStream:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._held, self._begun = tokenizer, "", False

    @property
    def holds_text(self) -> bool:
        return bool(self._held)

    def feed(self, text: str) -> list[int]:
        """Ids that are final. White space before the first word is dropped: the model's own line break stands there."""
        self._held += text
        if not self._begun:
            self._held = self._held.lstrip()
            self._begun = bool(self._held)
        cut = self._settled()
        found, self._held = self._held[:cut], self._held[cut:]
        return self._ids(found)

    def close(self) -> list[int]:
        """All that is held, without white space at its end. Text that comes later begins anew."""
        found, self._held = self._held.rstrip(), ""
        return self._ids(found)

    def _settled(self) -> int:
        """How many characters later text cannot change."""
        if not self._held:
            return 0
        starter = len(self._held) - 1
        while starter > 0 and unicodedata.combining(self._held[starter]):
            starter -= 1
        known = unicodedata.normalize("NFC", self._held[:starter])
        if len(known) != starter:  # composed text has other places than the text held: wait for the piece to end
            self._held = known + self._held[starter:]
        pieces = self._tokenizer.pre_tokenizer.pre_tokenize_str(self._held)
        return min(len(known), pieces[-1][1][0]) if pieces else 0

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids) if text else []
