"""The decoder behind the Vocoder Protocol: frames to samples at the model's rate, its state by slot.

Each chunk of text begins from silence, and so does the decoder: its first samples are faded in, since a fresh state
begins with a small step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.common.done import Done
from engines.families.pocket.bundle import Bundle
from engines.runtime.base import Array, Backend, FloatArray, IntArray

_FADE_S = 0.005


class FadeIn:
    """Of the first samples of a slot."""

    def __init__(self, rate_hz: int) -> None:
        self._fade = np.linspace(0, 1, round(_FADE_S * rate_hz), dtype=np.float32)
        self._begun = set[int]()  # emptied in the job that begins a slot

    def begin(self, slot: int, control: Controls) -> None:
        self._begun.add(slot)

    def made(self, slot: int, samples: FloatArray) -> FloatArray:
        if slot in self._begun:
            self._begun.remove(slot)
            samples[: len(self._fade)] *= self._fade
        return samples

    def end(self, slot: int) -> FloatArray:
        return np.zeros(0, np.float32)

    def swap_out(self, slot: int) -> object:
        return None

    def swap_in(self, slot: int, kept: Any) -> None:
        pass


class PocketVocoder:
    def __init__(self, bundle: Bundle, backend: Backend, slots: int) -> None:
        self._bundle = bundle
        start: dict[str, Array] = {one.name: np.zeros((1, *one.shape), np.float32) for one in bundle.decoder.states}
        trial = {"latents": np.zeros((1, 1, bundle.frame_width)), "position": np.zeros(1), **start}
        (self._graph,) = backend.graphs(bundle.folder / "decoder.onnx", trial=trial)
        self.kernels = self._graph.kernels
        self._state = {name: np.repeat(one, slots, 0) for name, one in start.items()}
        self._finish = FadeIn(bundle.sample_rate_hz)

    def warm_up(self) -> None:
        one = np.zeros(1, np.int64)
        self.run(one, np.zeros((1, 1, self._bundle.frame_width), np.float32), one, one, [None], one > 0)

    def swap_out(self, slot: int) -> object:
        return {name: state[slot].copy() for name, state in self._state.items()}

    def swap_in(self, slot: int, kept: Any) -> None:
        for name, state in self._state.items():
            state[slot] = kept[name]

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        if not frames.shape[1]:
            return Done(Sound([np.zeros(0, np.float32)] * len(slots), np.ones(len(slots), np.bool_)))
        begins = slots[first_frames == 0]
        for state in self._state.values():
            state[begins] = 0
        feeds: dict[str, Array] = {name: state[slots] for name, state in self._state.items()}
        feeds |= {"latents": frames, "position": first_frames * self._bundle.decoder.steps_per_frame}
        made = self._graph.run(feeds)
        for name, state in self._state.items():
            state[slots] = made[f"{name}_out"]
        pcm: FloatArray = made["pcm"]
        for row, (slot, first) in enumerate(zip(slots.tolist(), first_frames.tolist(), strict=True)):
            if first == 0:
                self._finish.begin(slot, None)
            pcm[row] = self._finish.made(slot, pcm[row])
        is_finite: BoolArray = np.logical_and.reduce(np.isfinite(pcm), axis=1)
        return Done(Sound(list(pcm), is_finite))
