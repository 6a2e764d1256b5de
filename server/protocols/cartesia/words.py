"""Cartesia's word times: every word once, with the signs that stick to it, in seconds from the first sample.

text    "Well, it costs $12.50 in all!"
words   ["Well,", "it", "costs", "$12.50", "in", "all!"]
"""

from __future__ import annotations

from collections.abc import Iterable

from engines.messages import WordTime


class WordTimes:
    def __init__(self) -> None:
        self._given = 0  # characters

    def of(self, words: Iterable[WordTime], text: str) -> dict[str, list[str] | list[float]]:
        """What has been spoken, in the form of `word_timestamps`; without words when nothing new is complete."""
        names: list[str] = []
        starts: list[float] = []
        ends: list[float] = []
        for word in words:
            begin, end = word.start_char, word.end_char
            while begin > self._given and not text[begin - 1].isspace():
                begin -= 1
            while end < len(text) and not text[end].isspace():
                end += 1
            begin = max(begin, self._given)
            if begin < end:
                names.append(text[begin:end].strip())
                starts.append(round(word.start_s, 4))
                ends.append(round(word.end_s, 4))
                self._given = end
            elif ends:  # another word of what is one for the client
                ends[-1] = round(word.end_s, 4)
        return {"words": names, "start": starts, "end": ends} if names else {}
