"""Small true parts and a clock that only they move: what they cost is known, so every time can be predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engines.families.base import BoolArray, Controls, Frames, Pending, Prefix, Rows, Sampling, Sound, Steps
from engines.families.common.done import Done
from engines.families.common.slot_calls import groups
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.base import FloatArray, IntArray


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class ToyTalker:
    """Says code 7 * step, whatever the text. A call costs base + row * rows, idle rows included."""

    kernels = "ours"
    device = "cpu"

    def __init__(self, bundle: Bundle, clock: FakeClock, base_s: float, row_s: float) -> None:
        self._codes, self.draft_frames = bundle.codes.count, bundle.drafts.length if bundle.drafts else 0
        self._clock, self.base_s, self.row_s = clock, base_s, row_s
        self.calls: list[list[int]] = []  # slots of each
        self.before_call: Callable[[], None] = lambda: None

    @property
    def rows(self) -> list[int]:
        """Computed by each call."""
        return [self.computed(slots) for slots in self.calls]

    def computed(self, slots: list[int]) -> int:
        return max(slots) + 1 - min(slots)

    def warm_up(self) -> None:
        pass

    def begin(self, slot: int, prefix: Prefix | None) -> int:
        return 0

    def release(self, slot: int) -> None:
        pass

    def groups(self, slots: Sequence[int], others: Sequence[int], call_rows: int) -> list[list[int]]:
        return groups(slots, others, call_rows)

    def prefill(self, slots: IntArray, rows: Rows, offsets: IntArray, lengths: IntArray) -> Pending[BoolArray]:
        raise AssertionError("there is no prompt")

    def codes(self, positions: IntArray) -> IntArray:
        return 7 * positions % self._codes

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
        self.before_call()
        self.calls.append(slots.tolist())
        self._clock.now_s += self.base_s + self.row_s * self.computed(self.calls[-1])
        positions = lengths[:, None] + np.arange(rows.shape[1])
        shape = positions.shape
        frames = self.codes(positions)[:, :, None]
        return Done(Steps(frames, np.zeros(shape, np.float32), np.ones(shape, np.bool_)))

    def keep(self, slots: IntArray, lengths: IntArray, frames: Frames) -> None:
        pass


class ToyDurations:
    """Every phone lasts as long as two codes, or another number, at no cost."""

    def __init__(self, bundle: Bundle, codes: int = 2) -> None:
        self.rows = bundle.durations.rows
        self.features = np.zeros((self.rows, bundle.durations.features), np.int64)
        self.stretch = np.zeros(self.rows, np.float32)
        self._hops = np.full(self.rows, codes * bundle.frames_per_code)

    def plan(self) -> IntArray:
        return self._hops


class ToyVocoder:
    """A hum of 500 Hz after `quiet` frames of silence, at base + frame * frames a job."""

    kernels = "ours"

    def __init__(self, bundle: Bundle, clock: FakeClock, base_s: float, frame_s: float, quiet: int = 0) -> None:
        self._bundle, self._clock, self.base_s, self.frame_s = bundle, clock, base_s, frame_s
        self._quiet = quiet

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
        self._clock.now_s += self.base_s + self.frame_s * frames.shape[0] * frames.shape[1]
        samples = [
            self._hum(int(first), frames.shape[1], how.rate_hz, bool(last))
            for first, how, last in zip(first_frames, controls, is_last, strict=True)
        ]
        return Done(Sound(samples, np.ones(len(slots), np.bool_)))

    def _hum(self, first: int, frames: int, rate_hz: int, last: bool) -> FloatArray:
        """As the real one, it is a window's overlap behind, which comes out at the end with the closing silence."""
        bundle, frame = self._bundle, round(self._bundle.code_s * rate_hz)
        behind = bundle.look_back * rate_hz // bundle.sample_rate_hz
        start = first * frame - (behind if first else 0)
        end = (first + frames) * frame - (0 if last else behind)
        at = np.arange(start, end)
        hum = np.where(at >= self._quiet * frame, 0.5 * np.sin(2 * np.pi * 500 * at / rate_hz), 0.0)
        closing = bundle.durations.closing_hops * bundle.hop_length * rate_hz // bundle.sample_rate_hz if last else 0
        return np.concatenate([hum, np.zeros(closing)]).astype(np.float32)


class NgramDrafter:
    """Continues as the sequence did when its last two codes came before; training-free."""

    def __init__(self, frames: int = 2) -> None:
        self.frames = frames

    def propose(
        self, rows: Rows, counts: IntArray, sampling: Sequence[Sampling], keys: IntArray, made: Sequence[Frames]
    ) -> Frames:
        return np.stack([self._continue(one[:, 0].tolist()) for one in made])

    def _continue(self, codes: list[int]) -> Frames:
        found: list[int] = []
        for place in range(len(codes) - 2, 0, -1):
            if codes[place] == codes[-1] and codes[place - 1] == codes[-2]:
                found = codes[place + 1 : place + 1 + self.frames]
                break
        return np.array([*found, *[0] * (self.frames - len(found))], np.int64)[:, None]

    def stands(self, drafted: Frames, sampled: Frames) -> bool:
        return bool(drafted[0] == sampled[0])
