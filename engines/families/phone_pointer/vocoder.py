"""The shipped voice's vocoder behind the Vocoder Protocol: codes to complex frames to samples at each row's rate.

All state lives here by slot: the network's, and the sums of overlapping windows that are still open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.common.done import Done
from engines.families.common.randomness import noise
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.networks import SpectrumModel
from engines.families.phone_pointer.overlap_add import OverlapAdd
from engines.families.phone_pointer.script import VoiceControls
from engines.runtime.base import FloatArray, IntArray


class PointerVocoder:
    def __init__(self, bundle: Bundle, model: SpectrumModel, slots: int) -> None:
        self._bundle, self._model = bundle, model
        self.kernels = model.kernels
        self._state = model.initial_state(slots)
        self._sums: dict[int, FloatArray] = {}  # open sums of each slot
        self._rates: dict[int, OverlapAdd] = {}

    def warm_up(self) -> None:
        weights = tuple(float(voice.index == 0) for voice in self._bundle.voices)
        controls = VoiceControls(weights, 1.0, self._bundle.sample_rate_hz)
        one = np.zeros(1, np.int64)
        silent = np.zeros((1, 2, self._bundle.frame_width), np.int64)
        self.run(one, silent, one, one, [controls], np.zeros(1, np.bool_))

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        rows, how = range(len(slots)), list[VoiceControls](controls)
        for row in np.flatnonzero(first_frames == 0).tolist():
            self._reset(int(slots[row]), how[row].rate_hz)
        pieces = [np.zeros(0, np.float32) for _ in rows]
        is_finite = np.ones(len(slots), np.bool_)
        if frames.shape[1]:
            spectrum = self._spectrum(slots, frames, first_frames, seeds.tolist(), how)
            is_finite = np.array([bool(np.isfinite(one).all()) for one in spectrum])
            for rate_hz in {how[row].rate_hz for row in rows if is_finite[row]}:
                found = [row for row in rows if is_finite[row] and how[row].rate_hz == rate_hz]
                samples = self._samples(rate_hz, slots[found].tolist(), spectrum[found])
                for row, piece in zip(found, samples, strict=True):
                    pieces[row] = piece
        return Done(
            Sound(
                [
                    self._sent(pieces[row], int(slots[row]), how[row].rate_hz, first_frames[row] == 0, is_last[row])
                    for row in rows
                ],
                is_finite,
            )
        )

    def _spectrum(
        self, slots: IntArray, frames: Frames, firsts: IntArray, seeds: list[int], how: list[VoiceControls]
    ) -> FloatArray:
        """frames [B, N, W] -> [B, F, 2, bins]"""
        samples = self._bundle.samples_per_code
        # Source samples reach back before the first new one; before sample 0 they are drawn the same way.
        count = self._bundle.look_back + frames.shape[1] * samples
        excitation = np.stack(
            [noise(seed, first * samples, count) for seed, first in zip(seeds, firsts.tolist(), strict=True)]
        )
        voices = np.array([one.weights for one in how], np.float32)
        pitch = np.array([one.pitch for one in how], np.float32)
        state = {name: array[slots] for name, array in self._state.items()}
        spectrum, state = self._model.run(frames, voices, pitch, excitation, state)
        for name, array in state.items():
            self._state[name][slots] = array
        return spectrum

    def _reset(self, slot: int, rate_hz: int) -> None:
        for array in self._state.values():
            array[slot] = 0
        self._sums[slot] = self._rate(rate_hz).start()

    def _rate(self, rate_hz: int) -> OverlapAdd:
        if rate_hz not in self._rates:
            self._rates[rate_hz] = OverlapAdd(self._bundle, rate_hz)
        return self._rates[rate_hz]

    def _samples(self, rate_hz: int, slots: list[int], spectrum: FloatArray) -> FloatArray:
        """spectrum [R, F, 2, bins] of rows with this rate -> [R, F * hop]"""
        samples, sums = self._rate(rate_hz).run(spectrum, np.stack([self._sums[slot] for slot in slots]))
        for slot, open_sums in zip(slots, sums, strict=True):
            self._sums[slot] = open_sums
        return samples

    def _sent(self, samples: FloatArray, slot: int, rate_hz: int, is_first: bool, is_last: bool) -> FloatArray:
        """Nothing of the time before sample 0, and with the last chunk the open sums and the closing silence."""
        rate = self._rate(rate_hz)
        sent = samples[rate.look_back if is_first else 0 :]
        if is_last:
            closing = np.zeros(self._bundle.durations.closing_hops * rate.hop, np.float32)
            sent = np.concatenate([sent, self._sums[slot], closing])
        return sent
