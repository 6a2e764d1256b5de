"""What the talker reads, as rows of integers: a text id and rows of the frame table, see `section.TalkerPart`.

    role | tts_pad ... tts_pad, tts_bos       | text 0    | text 1 ...
         | think, begin, language, end, (speaker), pad | codec_bos | frame 0 ...
          -------------- opening ------------- - steps ->

The last position of a prompt is the first step. With a reference recording the text runs beside the reference's frames:

    ... opening | reference text, text ...
                | codec_bos, reference frames | frame 0 ...
     -------- shared -------

Rows that hold the reference's own text are the same in every utterance, so they are part of the voice's prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.families.base import FloatArray, IntArray
from engines.families.qwen3_tts.section import Qwen3TtsSection


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class VoicePrefix:
    """What a slot begins with: rows whose cache slots share by `key` (None: not kept), and the speaker embedding that
    rows of this slot mean."""

    key: str | None
    rows: IntArray  # [T, 1 + Q]
    speaker: FloatArray | None = None  # [width]


class Rows:
    def __init__(self, section: Qwen3TtsSection) -> None:
        self._section = section
        self._talker = section.talker

    def of(self, text: int, code: int) -> IntArray:
        """A text id beside one row of codebook 0, or one of the marks."""
        row = np.full(1 + self._talker.codebooks, self._talker.nothing, np.int64)
        row[:2] = text, code
        return row

    def frame(self, text: int, codes: IntArray) -> IntArray:
        """A text id beside a whole frame [Q]."""
        return np.concatenate([[text], codes + self._talker.starts])

    def reference(self, frames: Iterable[IntArray]) -> list[IntArray]:
        """frames [F, Q]. Rows that want a text id: where the frames begin, and each frame of a recording."""
        return [self.of(0, self._section.codec.begin), *(self.frame(0, frame) for frame in frames)]

    def instruction(self, ids: Sequence[int]) -> IntArray:
        text = self._section.text
        every = [*text.instruction_open, *ids, *text.instruction_close]
        return np.stack([self.of(one, self._talker.nothing) for one in every])

    def opening(self, language: str | None, speaker: int | None) -> IntArray:
        """`speaker`: a row of codebook 0's table, the mark of a speaker embedding, or none."""
        text, codec = self._section.text, self._section.codec
        language = self._spoken(language, speaker)
        if language is None:
            codes = [codec.nothink, codec.think_begin, codec.think_end]
        else:
            codes = [codec.think, codec.think_begin, codec.languages[language], codec.think_end]
        codes += [*([] if speaker is None else [speaker]), codec.pad]
        beside = [text.pad] * (len(codes) - 1) + [text.begin]
        rows = [self.of(one, self._talker.nothing) for one in text.role]
        return np.stack(rows + [self.of(one, code) for one, code in zip(beside, codes, strict=True)])

    def _spoken(self, language: str | None, speaker: int | None) -> str | None:
        """A speaker with a dialect speaks it where Chinese is asked for, or nothing is."""
        if language in (None, "chinese") and speaker is not None:
            names = {number: name for name, number in self._section.codec.speakers.items()}
            return self._section.codec.dialects.get(names.get(speaker, ""), language)
        return language
