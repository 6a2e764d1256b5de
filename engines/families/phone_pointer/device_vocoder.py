"""The shipped voice's vocoder on a device, behind the Vocoder Protocol.

Its calls are made by a thread of its own, since a device's captured calls belong to one thread and jobs come from
several. A job goes in pieces of the sizes that were captured; where a piece ends changes no sample, on a deterministic
backend not in its last bit either, since all are of one code. Samples of the
voice's own rate come from the device; for another rate the frames do, and are added up here.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.common.device_calls import buckets, prepare
from engines.families.common.device_form import DeviceForm
from engines.families.common.randomness import noise_at
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import VocoderBuffers
from engines.families.phone_pointer.overlap_add import OverlapAdd
from engines.runtime.base import Array, Call, FloatArray, IntArray
from engines.runtime.device_backend import DeviceBackend

_SIZES = (8, 4, 2, 1)  # codes of a piece


class _Result:
    def __init__(self, future: Future[Sound]) -> None:
        self._future = future

    def wait(self) -> Sound:
        return self._future.result()


class DeviceVocoder:
    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        (graph,) = backend.graphs(form.graph("vocoder"))
        self.kernels, self.arithmetic = graph.kernels, backend.arithmetic(graph.kernels)
        self._bundle, self._backend, one = bundle, backend, backend.deterministic
        self._sizes, self._buckets, self.cost = _SIZES[-1:] if one else _SIZES, buckets(slots, one=one), 1.0
        self._buffers = VocoderBuffers(bundle, form, backend, slots=slots, rows=slots, sizes=self._sizes)
        self._smallest = graph.bind(self._buffers.job(1, 1)) if one else None
        self._calls: dict[tuple[int, int], Call] = {
            (rows, size): graph.bind(self._buffers.job(rows, size)) for rows in self._buckets for size in self._sizes
        }
        self._rates: dict[int, OverlapAdd] = {}
        self._sums: dict[int, FloatArray] = {}  # of each slot: what sounds if no frame comes any more
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vocoder-device")

    def warm_up(self) -> None:
        self._thread.submit(self._prepare).result()

    def _prepare(self) -> None:
        self.cost = prepare(self._backend, self._calls.values(), self._smallest)
        self._buffers.fill_tables()

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        return _Result(self._thread.submit(self._run, slots, frames, first_frames, seeds, controls, is_last))

    def _run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Any],
        is_last: BoolArray,
    ) -> Sound:
        begins, rates = first_frames == 0, [self._rate(one.rate_hz) for one in controls]
        for row in np.flatnonzero(begins).tolist():
            self._sums[int(slots[row])] = rates[row].start()
        self._write_rows(slots, controls)
        pieces: list[list[FloatArray]] = [[] for _ in slots]
        is_finite, done = np.ones(len(slots), np.bool_), 0
        while done < frames.shape[1]:
            size = next(size for size in self._sizes if size <= frames.shape[1] - done)
            firsts = first_frames + done
            finite = self._piece(size, slots, frames[:, done : done + size, 0], firsts, seeds, rates, pieces)
            is_finite, done = is_finite & finite, done + size
        sent = []
        for row, slot in enumerate(slots.tolist()):
            samples = np.concatenate([*pieces[row], np.zeros(0, np.float32)])
            samples = samples[rates[row].look_back if begins[row] else 0 :]
            if is_last[row]:
                closing = np.zeros(self._bundle.durations.closing_hops * rates[row].hop, np.float32)
                samples = np.concatenate([samples, self._sums[slot], closing])
            sent.append(samples)
        return Sound(sent, is_finite)

    def _write_rows(self, slots: IntArray, controls: Sequence[Any]) -> None:
        """What does not change from piece to piece; rows behind write to spare slots."""
        values, rows = self._buffers.values, len(slots)
        covered = next(size for size in self._buckets if size >= rows)
        spare = self._buffers.spare_slot + np.arange(covered - rows)
        values["slots"].write(np.concatenate([slots, spare]))
        values["voices"].write(np.array([one.weights for one in controls], np.float32))
        values["pitch"].write(np.array([one.pitch for one in controls], np.float32))

    def _piece(
        self,
        size: int,
        slots: IntArray,
        codes: IntArray,
        firsts: IntArray,
        seeds: IntArray,
        rates: list[OverlapAdd],
        pieces: list[list[FloatArray]],
    ) -> BoolArray:
        """Appends each row's samples. -> is_finite [B]"""
        values, rows = self._buffers.values, len(slots)
        covered = next(bucket for bucket in self._buckets if bucket >= rows)
        starts = [
            noise_at(seed, first * self._bundle.samples_per_code)
            for seed, first in zip(seeds.tolist(), firsts.tolist(), strict=True)
        ]
        values["noise_at"].write(np.array(starts, np.int64))
        values["begins"].write(firsts == 0)
        self._buffers.codes[size].write(codes)
        call = self._calls[covered, size]
        call.launch()
        call.wait()
        is_finite = np.isfinite(values["scores"].read(0, rows))
        samples = self._buffers.samples[size].read(0, rows).reshape(rows, -1)
        native, new = self._bundle.sample_rate_hz, size * self._bundle.samples_per_code
        spectra = self._spectra(size, rows, rates)
        for row, slot in enumerate(slots.tolist()):
            rate = rates[row]
            if rate.rate_hz == native:
                pieces[row].append(samples[row, :new].copy())
                self._sums[slot] = samples[row, new : new + rate.look_back].copy()
            else:
                made, sums = rate.run(spectra[row : row + 1], self._sums[slot][None])
                pieces[row].append(made[0])
                self._sums[slot] = sums[0]
        return is_finite

    def _spectra(self, size: int, rows: int, rates: list[OverlapAdd]) -> Array:
        """Fetched only where a row has another rate."""
        if all(rate.rate_hz == self._bundle.sample_rate_hz for rate in rates):
            return np.zeros((rows, 0), np.float32)
        return self._buffers.spectra[size].read(0, rows)

    def _rate(self, rate_hz: int) -> OverlapAdd:
        if rate_hz not in self._rates:
            self._rates[rate_hz] = OverlapAdd(self._bundle, rate_hz)
        return self._rates[rate_hz]
