"""A depth model in the manner of Qwen3-TTS: one text id a frame, frames of 16 codes from a second graph, an end that is
sampled once the text is over, and a vocoder that must know its last frame: one is withheld."""

from __future__ import annotations

from collections import deque
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
from tests.families.graphs import POSITIONS, save_depth

VOCABULARY, CODEBOOKS, LONGEST, TAIL = 13, 16, 100, 25
_NO_TEXT = 0


class DepthTalker(ToyTalker):
    frame_width = CODEBOOKS

    def __init__(self, folder: Path, backend: Backend, slots: int) -> None:
        super().__init__(folder, backend, slots, VOCABULARY)
        path = folder / "depth.onnx"
        if not path.exists():
            save_depth(path, VOCABULARY, CODEBOOKS)
        (self._depth,) = backend.graphs(path)

    def input_of(self, own: int, last: IntArray) -> int:
        return own + int(last.sum()) % 97

    def frame_of(self, code: int, total: float) -> IntArray:
        frame: IntArray = self._depth.run({"code": np.array([code]), "sums": np.array([total], np.float32)})["frame"][0]
        return frame

    def may_end(self, own: int, made: int, sampling: Sampling) -> bool:
        return own == _NO_TEXT


class DepthScript(WordScript):
    def __init__(self, sampling: Sampling) -> None:
        super().__init__(sampling)
        self._ids = deque[tuple[int, tuple[int, str] | None]]()  # (id, the word that it ends)
        self._steps = self._tail = self._first = 0
        self._over = False

    @property
    def has_text(self) -> bool:
        return self.readable or bool(self._ids) or (self.complete and not self._over)

    def add_word(self, start: int, word: str) -> None:
        *ids, last = tokens_of(word)
        self._ids.extend((one, None) for one in ids)
        self._ids.append((last, (start, word)))

    @property
    def state(self) -> ScriptState:
        if self._over:
            return ScriptState.DONE
        return ScriptState.READY if self._ids or self.complete else ScriptState.STARVED

    def prompt(self, most: int) -> list[Row]:
        raise AssertionError("nothing is prefilled")

    def row(self) -> Row:
        return [self._ids[0][0] if self._ids else _NO_TEXT]

    def peek(self, most: int) -> list[Row]:
        rows: list[Row] = [[one] for one, _ in list(self._ids)[:most]]
        if self.complete:
            rows += [[_NO_TEXT]] * min(most - len(rows), TAIL - self._tail)
        return rows[: LONGEST - self._steps]

    def commit(self, frame: Frames, end_score: float, probe: FloatArray | None) -> Verdict:
        self._steps += 1
        self._made += end_score == 0
        if not self._ids:
            self._tail += 1
            self._over = end_score > 0 or self._tail == TAIL
        elif (word := self._ids.popleft()[1]) is not None:
            self.spoke(*word, self._first)
            self._first = self._made
        if not self._over and self._steps < LONGEST:
            return Verdict.GOES_ON
        self._steps = 0
        return Verdict.END_MARKER if end_score > 0 else Verdict.SEGMENT_ENDS


class DepthFamily:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def spec(self, backend: Backend) -> ModelSpec:
        return ModelSpec(
            family="depth", name="toy-depth", version="1", digest="0", frame_s=FRAME_S, frame_width=CODEBOOKS,
            frame_dtype="int64", row_width=1, prompt_width=0, positions=POSITIONS, bytes_per_slot=8 * POSITIONS,
            chunk_frames=(1, 2, 4, 8), first_frames=(2, 4), withheld_frames=1,
            rates_hz=(RATE_HZ,), native_rate_hz=RATE_HZ,
            voices=(VoiceSpec(id="rms", name="One"), VoiceSpec(id="slt", name="Two")),
            options=(OptionSpec(name="temperature", kind="number", least=0, most=2),),
        )  # fmt: skip

    def validate(self, submit: Submit) -> None:
        check(self.spec(None), submit)  # type: ignore[arg-type]

    def open(self, submit: Submit) -> Script:
        return DepthScript(Sampling(temperature=submit.option("temperature", 3.0)))

    def talker(self, backend: Backend, slots: int) -> Talker:
        return DepthTalker(self._folder, backend, slots)

    def vocoder(self, backend: Backend, slots: int) -> Vocoder:
        return ToyVocoder(slots, late=0, fades=True)

    def drafter(self, backend: Backend, *, tolerance: int) -> Drafter | None:
        return RepeatingDrafter()
