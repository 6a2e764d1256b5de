"""Small true networks and a clock that only they move: what they cost is known, so every time can be predicted."""

from __future__ import annotations

import numpy as np

from engines.bundle import Bundle
from engines.runtime.base import FloatArray, IntArray, State, StepInputs


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class ToyLm:
    """Says code 7 * step and moves on with every second step, whoever asks. A call costs base + row * rows."""

    def __init__(self, bundle: Bundle, slots: int, clock: FakeClock, base_s: float, row_s: float) -> None:
        self.inputs = StepInputs.allocate(slots, len(bundle.adapter.window))
        self._codes, self._advances = bundle.codes.count, bundle.adapter.max_advance + 1
        self._clock, self._base_s, self._row_s = clock, base_s, row_s
        self.calls: list[int] = []

    def step(self, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        rows = last - first
        self.calls.append(rows)
        self._clock.now_s += self._base_s + self._row_s * rows
        codes = np.zeros((rows, self._codes), np.float32)
        advances = np.zeros((rows, self._advances), np.float32)
        for row in range(rows):
            step = int(self.inputs.past[first + row])
            codes[row, 7 * step % self._codes] = 1
            advances[row, step % 2] = 1
        return codes, advances


class ToyVocoder:
    """Silence, at base + code * codes a job."""

    def __init__(self, bundle: Bundle, clock: FakeClock, base_s: float, code_s: float) -> None:
        self._bundle, self._clock, self._base_s, self._code_s = bundle, clock, base_s, code_s

    def initial_state(self, rows: int) -> State:
        return {"none": np.zeros((rows, 1), np.float32)}

    def run(self, codes: IntArray, voice: IntArray, noise: FloatArray, state: State) -> tuple[FloatArray, State]:
        self._clock.now_s += self._base_s + self._code_s * codes.size
        bins = self._bundle.window_samples // 2 + 1
        frames = codes.shape[1] * self._bundle.frames_per_code
        return np.zeros((len(codes), frames, 2, bins), np.float32), state
