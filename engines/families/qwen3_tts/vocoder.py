"""Frames to samples: one frame of one row a call, so that neither cuts nor neighbours change a bit.

The network speaks at one rate; other rates are resampled, frame by frame as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.common.done import Done
from engines.families.qwen3_tts.bundle import Bundle
from engines.runtime.base import Backend, IntArray


class Rates:
    """Samples of each slot at the rate that its request wants."""

    def __init__(self, own_hz: int) -> None:
        self._own_hz, self._resamplers = own_hz, dict[int, soxr.ResampleStream]()

    def begin(self, slot: int, rate_hz: int) -> None:
        self._resamplers.pop(slot, None)
        if rate_hz != self._own_hz:
            self._resamplers[slot] = soxr.ResampleStream(self._own_hz, rate_hz, 1, "float32")

    def made(self, slot: int, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        resampler = self._resamplers.get(slot)
        return samples if resampler is None else resampler.resample_chunk(samples)

    def swap_out(self, slot: int) -> object:
        return self._resamplers.pop(slot, None)

    def swap_in(self, slot: int, kept: Any) -> None:
        self._resamplers.pop(slot, None)
        if kept is not None:
            self._resamplers[slot] = kept

    def end(self, slot: int) -> NDArray[np.float32]:
        nothing, resampler = np.zeros(0, np.float32), self._resamplers.get(slot)
        return nothing if resampler is None else resampler.resample_chunk(nothing, last=True)


class Qwen3TtsVocoder:
    def __init__(self, bundle: Bundle, backend: Backend, slots: int) -> None:
        self._part = bundle.qwen3_tts.vocoder
        (self._graph,) = backend.graphs(bundle.folder / self._part.file)
        self.kernels = self._graph.kernels
        self._silence = {one.name: np.zeros((1, *one.shape), np.float32) for one in self._part.states}
        self._states: list[dict[str, NDArray[Any]]] = [self._silence] * slots  # replaced at each frame, never written
        self._rates = Rates(self._part.rate_hz)

    def warm_up(self) -> None:
        codebooks = next(one.shape[1] for one in self._graph.inputs if one.name == "codes")
        assert isinstance(codebooks, int)
        zero = np.zeros(1, np.int64)
        self.run(zero, np.zeros((1, 1, codebooks), np.int64), zero, zero, [self._part.rate_hz], np.ones(1, np.bool_))

    def swap_out(self, slot: int) -> object:
        kept = self._states[slot], self._rates.swap_out(slot)
        self._states[slot] = self._silence
        return kept

    def swap_in(self, slot: int, kept: Any) -> None:
        self._states[slot], rates = kept
        self._rates.swap_in(slot, rates)

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        """`controls` are the rates of the rows, in Hz."""
        samples = [
            self._row(slot, rows, first, rate_hz, last)
            for slot, rows, first, rate_hz, last in zip(
                slots.tolist(), frames, first_frames.tolist(), controls, is_last.tolist(), strict=True
            )
        ]
        return Done(Sound(samples, np.array([bool(np.isfinite(one).all()) for one in samples])))

    def _row(self, slot: int, frames: Frames, first: int, rate_hz: int, is_last: bool) -> NDArray[np.float32]:
        if first == 0:
            self._states[slot] = self._silence
            self._rates.begin(slot, rate_hz)
        pieces = [np.zeros(0, np.float32)]
        for place, frame in enumerate(frames, first):
            found = self._graph.run({"codes": frame[None], "made": np.array([place]), **self._states[slot]})
            self._states[slot] = {name: found[f"{name}_out"] for name in self._silence}
            pieces.append(self._rates.made(slot, found["samples"][0]))
        if is_last:
            pieces.append(self._rates.end(slot))
        return np.concatenate(pieces)
