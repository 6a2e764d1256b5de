"""Words to token ids. Words are read one by one: the exporter has checked that together they give the same ids."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Protocol

from engines.errors import BundleError, ConfigError

_KEPT_WORDS = 1 << 16
_SPACE, _UNKNOWN = "▁", "<unk>"


class Tokens(Protocol):
    def ids(self, word: str) -> tuple[int, ...]: ...

    def cut(self, word: str, most: int) -> int:
        """Characters of the word that its first `most` tokens stand for, at least 1."""
        ...

    def is_unknown(self, word: str) -> bool:
        """Whether no character of it is known."""
        ...


class WordTokens:
    def __init__(self, path: Path, vocabulary: int) -> None:
        """Raises ConfigError without the library, BundleError for a broken file or another vocabulary."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError("this bundle needs tokenizers: in the checkout, pip install '.[pocket]'") from error
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises its base class
            raise BundleError(f"{path.name} cannot be read: {error}") from error
        found = self._tokenizer.get_vocab_size()
        if found != vocabulary:
            raise BundleError(f"{path.name} has {found} tokens, the manifest says {vocabulary}")
        self._space, self._unknown = (self._tokenizer.token_to_id(piece) for piece in (_SPACE, _UNKNOWN))
        self.ids = lru_cache(_KEPT_WORDS)(self._ids)

    def _ids(self, word: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(word).ids)

    def cut(self, word: str, most: int) -> int:
        offsets = self._tokenizer.encode(word).offsets
        return len(word) if len(offsets) <= most else max(1, offsets[most - 1][1])

    def is_unknown(self, word: str) -> bool:
        return set(self.ids(word)) - {self._space} == {self._unknown}
