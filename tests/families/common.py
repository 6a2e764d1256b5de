"""What the toy families share: a Talker over the real runtime and slabs, a Script of words, a Vocoder with state."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.errors import BadParameter, UnknownVoice, UnspeakableText
from engines.families.base import (
    BoolArray,
    Controls,
    Frames,
    ModelSpec,
    Pending,
    Prefix,
    Rows,
    Sampling,
    Sound,
    Steps,
    WordTimes,
)
from engines.families.common.done import Done
from engines.families.common.sampling import sample
from engines.families.common.slot_calls import KvSlabs, SlotCalls, ranges
from engines.messages import Submit, WordTime
from engines.runtime.base import Backend, FloatArray, IntArray
from tests.families.graphs import BEGIN, POSITIONS, save_lm

FRAME_S, RATE_HZ = 0.02, 24_000
HOP = round(FRAME_S * RATE_HZ)
STEPS = 4  # that one call may verify
BLOCK = 32  # positions of the longest block of a prefill call


class CachedLm:
    """Logits and sums of S inputs of each slot of a range, over the slabs of `engines.families.common`."""

    def __init__(self, folder: Path, backend: Backend, slots: int, vocabulary: int) -> None:
        path = folder / f"lm-{vocabulary}.onnx"
        if not path.exists():
            save_lm(path, vocabulary)
        (graph,) = backend.graphs(path)
        self.kernels, self.device = graph.kernels, backend.device
        self.slabs = KvSlabs(backend, graph, slots=slots, layers=1, kv_heads=1, positions=POSITIONS, head_dim=1)
        self._calls: dict[int, tuple[SlotCalls, dict[str, object]]] = {}
        self._graph, self._backend, self._slots, self._vocabulary = graph, backend, slots, vocabulary

    def run(
        self, slots: IntArray, inputs: IntArray, counts: IntArray, lengths: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """slots [B], inputs [B, S], counts [B], lengths [B] -> logits [B, S, V], sums [B, S]"""
        calls, buffers = self._bound(inputs.shape[1])
        first, last = int(slots.min()), int(slots.max()) + 1
        idle = np.zeros(last - first, np.int64)  # count 0: a row without work writes nothing
        buffers["counts"].write(idle, first)  # type: ignore[attr-defined]
        for name, values in (("inputs", inputs), ("counts", counts), ("lengths", lengths)):
            for slot, value in zip(slots.tolist(), values, strict=True):
                buffers[name].write(value[None], slot)  # type: ignore[attr-defined]
        calls.run(first, last)
        logits, sums = (buffers[name].read(first, last) for name in ("logits", "sums"))  # type: ignore[attr-defined]
        return logits[slots - first], sums[slots - first]

    def _bound(self, steps: int) -> tuple[SlotCalls, dict[str, object]]:
        if steps not in self._calls:
            shapes = {
                "inputs": ((self._slots, steps), "int64"),
                "counts": ((self._slots,), "int64"),
                "lengths": ((self._slots,), "int64"),
                "logits": ((self._slots, steps, self._vocabulary), "float32"),
                "sums": ((self._slots, steps), "float32"),
            }
            made = {name: self._backend.buffer(shape, dtype) for name, (shape, dtype) in shapes.items()}
            self._calls[steps] = SlotCalls(self._graph, {**made, **self.slabs.named()}, {}), dict(made)
        return self._calls[steps]


class ToyTalker:
    """One step a frame; what a step's input and its frame are, the families say below."""

    draft_frames = STEPS - 1
    frame_width = 1

    def __init__(self, folder: Path, backend: Backend, slots: int, vocabulary: int) -> None:
        self._lm, self._end = CachedLm(folder, backend, slots, vocabulary), vocabulary - 1
        self.kernels, self.device = self._lm.kernels, self._lm.device
        self._last = np.full((slots, self.frame_width), BEGIN)
        self._start: list[int | None] = [None] * slots  # positions at the segment's first step

    def input_of(self, own: int, last: IntArray) -> int:
        """own (the row's), last [W] -> what the cache holds of the step"""
        raise NotImplementedError

    def frame_of(self, code: int, total: float) -> IntArray:
        """-> [W]"""
        raise NotImplementedError

    def may_end(self, own: int, made: int, sampling: Sampling) -> bool:
        return made >= sampling.min_frames

    def warm_up(self) -> None:
        pass

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        self._last[slot], self._start[slot] = BEGIN, None
        return 0

    def release(self, slot: int) -> None:
        self.begin(slot, None)

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        """Lists of slots: idle rows between them write nothing."""
        wanted = set(slots)
        found = [[slot for slot in range(first, last) if slot in wanted] for first, last in ranges(slots, call_rows)]
        return sorted(found, key=lambda group: min(slots.index(slot) for slot in group))

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        """All prompts at once, in blocks of so many positions."""
        counts = np.diff(offsets)
        for start in range(0, int(counts.max()), BLOCK):
            live = np.flatnonzero(counts > start)
            taken = np.minimum(counts[live] - start, BLOCK)
            inputs = np.zeros((len(live), BLOCK), np.int64)
            for row, (at, count) in enumerate(zip(offsets[live].tolist(), taken.tolist(), strict=True)):
                inputs[row, :count] = rows[at + start : at + start + count, 0]
            self._lm.run(slots[live], inputs, taken, lengths[live] + start)
        return Done(np.ones(len(slots), np.bool_))

    def step(
        self,
        slots: IntArray,
        rows: Rows,
        counts: IntArray,
        lengths: IntArray,
        sampling: Sequence[Sampling],
        keys: IntArray,
        drafted: Frames | None,
    ) -> Pending[Steps]:
        width = 1 if drafted is None else STEPS
        inputs, codes = np.zeros((len(slots), width), np.int64), np.zeros((len(slots), width), np.int64)
        for row, (slot, count) in enumerate(zip(slots.tolist(), counts.tolist(), strict=True)):
            seen = [self._last[slot], *([] if drafted is None else drafted[row])]
            inputs[row, :count] = [self.input_of(int(rows[row, step, 0]), seen[step]) for step in range(count)]
        logits, sums = self._lm.run(slots, inputs, counts, lengths)
        frames = np.zeros((len(slots), width, self.frame_width), np.int64)
        for row, (slot, count) in enumerate(zip(slots.tolist(), counts.tolist(), strict=True)):
            start = self._start[slot] = int(lengths[row]) if self._start[slot] is None else self._start[slot]
            for step in range(count):
                ends = self.may_end(int(rows[row, step, 0]), int(lengths[row]) + step - (start or 0), sampling[row])
                key, early = keys[row] + [0, step], [] if ends else [self._end]
                code, _ = sample(logits[row, step : step + 1], [sampling[row]], key[None], None, [early])
                codes[row, step] = code[0]
                frames[row, step] = self.frame_of(int(code[0]), float(sums[row, step]))
            if drafted is None:
                self._last[slot] = frames[row, 0]
        return Done(Steps(frames, (codes == self._end).astype(np.float32), np.isfinite(logits).all(axis=2)))

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        self._last[slots] = frames


class ToyVocoder:
    """A frame's samples depend on all frames before it in the segment, through a number of three digits by slot. It is
    `late` frames behind what it is given, and its last frame fades out."""

    kernels = "ours"

    def __init__(self, slots: int, *, late: int, fades: bool) -> None:
        self._late, self._fades = late, fades
        self._state = np.zeros(slots, np.int64)
        self._held: list[list[int]] = [[] for _ in range(slots)]

    def warm_up(self) -> None:
        pass

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        samples = []
        for row, slot in enumerate(slots.tolist()):
            if first_frames[row] == 0:
                self._state[slot], self._held[slot] = 0, []
            self._held[slot] += frames[row].sum(axis=1).tolist()
            held = self._held[slot]
            count = len(held) if is_last[row] else max(0, len(held) - self._late)
            made = [self._hop(slot, number, int(seeds[row])) for number in held[:count]]
            del held[:count]
            sound = np.concatenate([*made, np.zeros(0)])
            if is_last[row] and self._fades and frames.shape[1]:
                sound[-HOP:] *= np.linspace(1, 0, HOP)
            samples.append(sound.astype(np.float32))
        return Done(Sound(samples, np.ones(len(slots), np.bool_)))

    def _hop(self, slot: int, number: int, seed: int) -> FloatArray:
        self._state[slot] = (3 * self._state[slot] + number + seed + 1) % 997
        return ((self._state[slot] + np.arange(HOP)) % 997 / 997 - 0.5).astype(np.float32)


class WordScript:
    """Reads words: one is complete with white space behind it, a flush or the end of the text."""

    prefix: Prefix | None = None
    controls: Controls = None
    warnings: tuple[str, ...] = ()

    def __init__(self, sampling: Sampling) -> None:
        self.sampling, self.guards = sampling, set[str]()
        self._pieces = deque[str | None]()  # None: a flush
        self._open, self._at = "", 0  # the word being read; characters read
        self._ends = self.complete = self._spoke = False
        self._made = 0  # frames
        self._times = deque[tuple[int, WordTime]]()  # (frame at which it ends, word)

    def append(self, text: str) -> None:
        self._pieces.append(text)

    def flush(self) -> None:
        self._pieces.append(None)

    def end(self) -> None:
        self._ends = True
        self.flush()

    @property
    def readable(self) -> bool:
        return bool(self._pieces)

    def read(self, max_chars: int) -> int:
        chars = 0
        while self._pieces and chars < max_chars:
            piece, chars = self._pieces.popleft(), chars + 1
            if piece is None:
                self._close_word()
                self.flushed()
                continue
            if piece[1:]:
                self._pieces.appendleft(piece[1:])
            if piece[0].isspace():
                self._close_word()
            else:
                self._open += piece[0]
            self._at += 1
        self.complete = self._ends and not self._pieces
        if self.complete and not self._spoke:
            raise UnspeakableText("nothing in the text can be spoken: it has no words")
        return chars

    def _close_word(self) -> None:
        word, self._open = self._open, ""
        if word:
            self._spoke = True
            self.add_word(self._at - len(word), word)

    def add_word(self, start: int, word: str) -> None:
        raise NotImplementedError

    def flushed(self) -> None:
        pass

    def spoke(self, start: int, word: str, first: int) -> None:
        """A word, from frame `first` to the last one made."""
        time = WordTime(
            start_char=start, end_char=start + len(word), start_s=first * FRAME_S, end_s=self._made * FRAME_S
        )
        self._times.append((self._made, time))

    def silenced(self, pcm: bytes) -> bytes:
        return pcm

    def words_until(self, frames: int) -> WordTimes:
        found = []
        while self._times and self._times[0][0] <= frames:
            found.append(self._times.popleft()[1])
        return tuple(found)


def tokens_of(word: str) -> list[int]:
    return [ord(letter) % 90 + 1 for letter in word]


def check(spec: ModelSpec, submit: Submit) -> None:
    if submit.voice not in {one.id for one in spec.voices}:
        raise UnknownVoice(f"voice {submit.voice!r} does not exist; valid: {', '.join(one.id for one in spec.voices)}")
    if submit.sample_rate_hz != RATE_HZ:
        raise BadParameter(f"sample rate {submit.sample_rate_hz} Hz is not offered; valid: {RATE_HZ}")
    for name, _ in submit.options:
        if spec.option(name) is None:
            raise BadParameter(f"option {name!r} is not known to {spec.family}")


class RepeatingDrafter:
    """Guesses that what was spoken before its last frame's twin comes again."""

    frames = STEPS - 1

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Sequence[Sampling], keys: IntArray, made: Sequence[Frames]
    ) -> Frames:
        return np.stack([self._continue(frames) for frames in made])

    def _continue(self, made: Frames) -> Frames:
        twins = np.flatnonzero((made[:-1] == made[-1]).all(axis=1))
        found = made[twins[-1] + 1 :][: self.frames] if len(twins) else made[:0]
        return np.concatenate([found, np.repeat(made[-1:], self.frames - len(found), axis=0)])

    def stands(self, drafted: Frames, sampled: Frames) -> bool:
        return bool((drafted == sampled).all())
