"""When each character of a text is heard, derived from word times.

Characters inside a word share its time evenly. What lies between words (white space, signs that are not spoken) takes
no time at the end of the word before it; so the times do not depend on how the speech was cut into chunks. White space
of any kind reads as a blank, since clients split words at blanks. All arithmetic is in whole milliseconds from the
first sample: a client that adds up spans loses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.messages import WordTime


@dataclass(slots=True)
class Span:
    """Consecutive characters and their times in milliseconds from the utterance's first sample."""

    chars: list[str] = field(default_factory=list)
    starts_ms: list[int] = field(default_factory=list)
    ends_ms: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.chars)

    def add(self, chars: str, start_ms: int, end_ms: int) -> None:
        """Spreads the characters evenly over [start_ms, end_ms]."""
        edges = (
            [start_ms + (end_ms - start_ms) * place // len(chars) for place in range(len(chars) + 1)] if chars else []
        )
        self.chars += [" " if char.isspace() else char for char in chars]
        self.starts_ms += edges[:-1]
        self.ends_ms += edges[1:]

    def in_seconds(self) -> dict[str, list[str] | list[float]]:
        """ElevenLabs' form over HTTP."""
        return {
            "characters": self.chars,
            "character_start_times_seconds": [ms / 1000 for ms in self.starts_ms],
            "character_end_times_seconds": [ms / 1000 for ms in self.ends_ms],
        }

    def in_ms(self, zero_ms: int) -> dict[str, list[str] | list[int]]:
        """ElevenLabs' form on a WebSocket, counted from `zero_ms`."""
        return {
            "chars": self.chars,
            "charStartTimesMs": [ms - zero_ms for ms in self.starts_ms],
            "charDurationsMs": [end - start for start, end in zip(self.starts_ms, self.ends_ms)],
        }


class CharTimes:
    """One utterance's text as it grows, and how far its characters have been given out."""

    def __init__(self, text: str = "") -> None:
        self._text = text
        self._given = 0
        self._timed = False  # a word's time was heard: a model that tells none has no alignment
        self.end_ms = 0  # of the last character given out

    def append(self, text: str) -> None:
        self._text += text

    def spoken(self, words: Sequence[WordTime]) -> Span:
        """The characters up to the last of these words, and the white space behind it as far as it is known."""
        span = Span()
        self._timed = self._timed or bool(words)
        for word in words:
            self._give_unspoken(span, word.start_char)
            start_ms = max(self.end_ms, round(1000 * word.start_s))
            end_ms = max(start_ms, round(1000 * word.end_s))
            span.add(self._text[self._given : word.end_char], start_ms, end_ms)
            self._given, self.end_ms = max(self._given, word.end_char), end_ms
        if words:
            rest = self._text[self._given :]
            self._give_unspoken(span, self._given + len(rest) - len(rest.lstrip()))
        return span

    def rest(self) -> Span:
        """What was never spoken. Call when the utterance has ended. Nothing where no word had a time."""
        span = Span()
        if self._timed:
            self._give_unspoken(span, len(self._text))
        return span

    def final_blank(self) -> Span:
        """A blank behind a text that has none: for clients that take a word only once a blank follows."""
        span = Span()
        if self._timed and self._text and not self._text[-1].isspace():
            span.add(" ", self.end_ms, self.end_ms)
        return span

    def _give_unspoken(self, span: Span, until: int) -> None:
        if until > self._given:
            span.add(self._text[self._given : until], self.end_ms, self.end_ms)
            self._given = until
