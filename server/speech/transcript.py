"""The text of one utterance and when its words end, from the model's own alignment.

    text      Hello there, who is calling?
    words     [0,5) [6,12) ...            each with the second at which it ends
    split(t)  spoken = up to the last word that ends at or before t; remaining = the rest, to the last character

Times and places never go back, so what was confirmed once stays confirmed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from engines.messages import WordTime

_SAME_S = 1e-6  # ends are multiples of a code's length in floating point


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an utterance was stopped."""

    played_s: float
    sent_s: float
    text_spoken: str
    text_remaining: str
    text_accuracy: Literal["word", "unknown"]  # unknown: the model has no word times, and all text counts as remaining


class Transcript:
    def __init__(self) -> None:
        self._parts: list[str] = []
        self._ends_s: list[float] = []
        self._end_chars: list[int] = []
        self.characters = 0

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def append(self, text: str) -> None:
        self._parts.append(text)
        self.characters += len(text)

    def spoke(self, words: Iterable[WordTime]) -> tuple[WordTime, ...]:
        """Notes words whose audio has been sent; returns them with times and places that never go back."""
        rising = []
        for word in words:
            before_s = self._ends_s[-1] if self._ends_s else 0.0
            before_char = self._end_chars[-1] if self._end_chars else 0
            start_s, end_s = max(word.start_s, before_s), max(word.end_s, before_s)
            end_char = min(max(word.end_char, before_char), self.characters)
            rising.append(replace(word, start_s=start_s, end_s=end_s, end_char=end_char))
            self._ends_s.append(end_s)
            self._end_chars.append(end_char)
        return tuple(rising)

    def split(self, at_s: float) -> tuple[str, str]:
        """(spoken, remaining); together exactly the text."""
        ended = bisect_right(self._ends_s, at_s + _SAME_S)
        end = self._end_chars[ended - 1] if ended else 0
        return self.text[:end], self.text[end:]


def stretched(word: WordTime, tempo: float) -> WordTime:
    return replace(word, start_s=word.start_s / tempo, end_s=word.end_s / tempo)
