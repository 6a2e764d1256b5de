"""A text-token prefix LM in the manner of Orpheus or CosyVoice: a prompt that is prefilled as words come, then codes
until a learned end. Its segments are three words; the vocoder restarts with each and is two frames behind."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engines.families.base import (
    Drafter,
    Frames,
    ModelSpec,
    OptionSpec,
    Row,
    Sampling,
    Script,
    ScriptState,
    Talker,
    Verdict,
    Vocoder,
    VoiceSpec,
)
from engines.messages import Submit
from engines.runtime.base import Backend, FloatArray, IntArray
from tests.families.common import (
    FRAME_S,
    RATE_HZ,
    RepeatingDrafter,
    ToyTalker,
    ToyVocoder,
    WordScript,
    check,
    tokens_of,
)
from tests.families.graphs import POSITIONS

VOCABULARY, WORDS, LONGEST = 17, 3, 40
_LAST_CODE = -1  # a row that reads nothing but the last frame


class PrefixTalker(ToyTalker):
    def input_of(self, own: int, last: IntArray) -> int:
        return int(last[0]) + 100 if own == _LAST_CODE else own

    def frame_of(self, code: int, total: float) -> IntArray:
        return np.array([code])


@dataclass
class _Segment:
    tokens: list[int] = field(default_factory=list)
    words: list[tuple[int, str]] = field(default_factory=list)
    closed: bool = False


class PrefixScript(WordScript):
    def __init__(self, sampling: Sampling) -> None:
        super().__init__(sampling)
        self._segments = deque[_Segment]()
        self._filled = self._steps = self._first = 0  # of the first segment

    @property
    def has_text(self) -> bool:
        return self.readable or bool(self._segments)

    def add_word(self, start: int, word: str) -> None:
        if not self._segments or self._segments[-1].closed:
            self._segments.append(_Segment())
        segment = self._segments[-1]
        segment.words.append((start, word))
        segment.tokens += [*tokens_of(word), 99]
        segment.closed = len(segment.words) == WORDS

    def flushed(self) -> None:
        if self._segments:
            self._segments[-1].closed = True

    @property
    def state(self) -> ScriptState:
        if not self._segments:
            return ScriptState.DONE if self.complete else ScriptState.STARVED
        segment = self._segments[0]
        if self._filled < len(segment.tokens) - 1:
            return ScriptState.PREFILL
        return ScriptState.READY if segment.closed else ScriptState.STARVED

    def prompt(self, most: int) -> list[Row]:
        tokens, first = self._segments[0].tokens, self._filled
        self._filled = min(len(tokens) - 1, first + most)
        return [[token] for token in tokens[first : self._filled]]

    def row(self) -> Row:
        return [self._segments[0].tokens[-1] if self._steps == 0 else _LAST_CODE]

    def peek(self, most: int) -> list[Row]:
        return [self.row(), *[[_LAST_CODE]] * (most - 1)][: LONGEST - self._steps]

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        self._steps += 1
        self._made += end_score == 0
        if end_score == 0 and self._steps < LONGEST:
            return Verdict.GOES_ON
        for start, word in self._segments.popleft().words:
            self.spoke(start, word, self._first)
        self._filled = self._steps = 0
        self._first = self._made
        return Verdict.SEGMENT_ENDS if end_score == 0 else Verdict.END_MARKER


class PrefixFamily:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def spec(self, backend: Backend) -> ModelSpec:
        return ModelSpec(
            family="prefix", name="toy-prefix", version="1", digest="0", frame_s=FRAME_S, frame_width=1,
            frame_dtype="int64", row_width=1, prompt_width=1, positions=POSITIONS, bytes_per_slot=8 * POSITIONS,
            chunk_frames=(1, 2, 4, 8), first_frames=(2, 4), lookahead_frames=2, vocoder_restarts=True,
            rates_hz=(RATE_HZ,), native_rate_hz=RATE_HZ,
            voices=(VoiceSpec(id="rms", name="One"), VoiceSpec(id="slt", name="Two")),
            options=(OptionSpec(name="temperature", kind="number", least=0, most=2),),
        )  # fmt: skip

    def validate(self, submit: Submit) -> None:
        check(self.spec(None), submit)  # type: ignore[arg-type]

    def open(self, submit: Submit) -> Script:
        temperature = submit.option("temperature", 3.0)
        return PrefixScript(Sampling(temperature=temperature, min_frames=3))

    def talker(self, backend: Backend, slots: int) -> Talker:
        return PrefixTalker(self._folder, backend, slots, VOCABULARY)

    def vocoder(self, backend: Backend, slots: int) -> Vocoder:
        return ToyVocoder(slots, late=2, fades=False)

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        return RepeatingDrafter()
