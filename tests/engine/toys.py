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
    """Says code 7 * step, whoever asks. A call costs base + row * rows."""

    kernels = "ours"
    device = "cpu"

    def __init__(self, bundle: Bundle, slots: int, clock: FakeClock, base_s: float, row_s: float) -> None:
        self.inputs = StepInputs.allocate(slots, bundle.adapter.features)
        self._codes = bundle.codes.count
        self._clock, self.base_s, self.row_s = clock, base_s, row_s
        self.calls: list[int] = []

    def step(self, first: int, last: int) -> FloatArray:
        rows = last - first
        self.calls.append(rows)
        self._clock.now_s += self.base_s + self.row_s * rows
        codes = np.zeros((rows, self._codes), np.float32)
        for row in range(rows):
            step = int(self.inputs.past[first + row])
            codes[row, 7 * step % self._codes] = 1
        return codes


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
    """A hum of 500 Hz after `quiet` codes of silence, at base + code * codes a job."""

    kernels = "ours"

    def __init__(self, bundle: Bundle, clock: FakeClock, base_s: float, code_s: float, quiet: int = 0) -> None:
        self._bundle, self._clock, self.base_s, self.code_s = bundle, clock, base_s, code_s
        self._quiet_frames = quiet * bundle.frames_per_code

    def initial_state(self, rows: int) -> State:
        return {"made": np.zeros((rows, 1), np.int64)}  # frames of each row

    def run(
        self, codes: IntArray, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        self._clock.now_s += self.base_s + self.code_s * codes.size
        bins = self._bundle.window_samples // 2 + 1
        frames = codes.shape[1] * self._bundle.frames_per_code
        spectrum = np.zeros((len(codes), frames, 2, bins), np.float32)
        hums = state["made"] + np.arange(frames) >= self._quiet_frames  # [B, F]
        spectrum[:, :, 0, 500 * self._bundle.window_samples // self._bundle.sample_rate_hz] = hums * bins / 4
        return spectrum, {"made": state["made"] + frames}
