"""The shipped voice's vocoder on a device, behind the Vocoder Protocol.

A job goes in pieces of the sizes that were captured; where a piece ends changes no sample, on a deterministic
backend not in its last bit either, since all are of one code. Samples of the voice's own rate come from the device; for
another rate the frames do, and are added up here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from engines.families.base import BoolArray, Frames, Sound
from engines.families.common.device_calls import buckets, prepare
from engines.families.common.device_form import DeviceForm
from engines.families.common.device_vocoder import VocoderThread
from engines.families.common.randomness import noise_places
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.device_buffers import VocoderBuffers
from engines.families.phone_pointer.overlap_add import OverlapAdd
from engines.runtime.base import Call, FloatArray, IntArray
from engines.runtime.device_backend import DeviceBackend

_SIZES = (8, 4, 2, 1)  # codes of a piece


class _Group(NamedTuple):
    """Rows of a job that have one rate."""

    rate: OverlapAdd
    sums: FloatArray  # [slots, look_back]: what sounds if no frame comes any more
    rows: IntArray  # of the job
    slots: IntArray


class DeviceVocoder(VocoderThread):
    def __init__(self, bundle: Bundle, form: DeviceForm, backend: DeviceBackend, slots: int) -> None:
        super().__init__()
        (graph,) = backend.graphs(form.graph("vocoder"))
        self.kernels, self.arithmetic = graph.kernels, backend.arithmetic(graph.kernels)
        self._bundle, self._backend, one = bundle, backend, backend.deterministic
        self._sizes, self._buckets = _SIZES[-1:] if one else _SIZES, buckets(slots, one=one)
        self._buffers = VocoderBuffers(bundle, form, backend, slots=slots, rows=slots, sizes=self._sizes)
        self._smallest = graph.bind(self._buffers.job(1, 1)) if one else None
        self._calls: dict[tuple[int, int], Call] = {
            (rows, size): graph.bind(self._buffers.job(rows, size)) for rows in self._buckets for size in self._sizes
        }
        self._rates: dict[int, tuple[OverlapAdd, FloatArray]] = {}  # and of each slot [slots, look_back]: see _Group

    def _prepare(self) -> float:
        cost = prepare(self._backend, self._calls.values(), self._smallest)
        self._buffers.fill_tables()
        return cost

    def _run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Any],
        is_last: BoolArray,
    ) -> Sound:
        count, total = frames.shape[:2]
        begins, groups = first_frames == 0, self._by_rate(slots, begins=first_frames == 0, controls=controls)
        made = [
            np.empty((len(one.rows), total * self._bundle.frames_per_code * one.rate.hop), np.float32) for one in groups
        ]
        self._write_rows(slots, controls)
        is_finite, done = np.ones(count, np.bool_), 0
        while done < total:
            size = next(size for size in self._sizes if size <= total - done)
            is_finite &= self._call(size, frames[:, done : done + size], first_frames + done, seeds)
            for one, into in zip(groups, made, strict=True):
                hop = self._bundle.frames_per_code * one.rate.hop
                into[:, done * hop : (done + size) * hop] = self._sounding(size, count, one)
            done += size
        sent: list[FloatArray] = [np.zeros(0, np.float32)] * count
        for one, into in zip(groups, made, strict=True):
            for row, slot, samples in zip(one.rows.tolist(), one.slots.tolist(), into, strict=True):
                samples = samples[one.rate.look_back if begins[row] else 0 :]
                if is_last[row]:
                    closing = np.zeros(self._bundle.durations.closing_hops * one.rate.hop, np.float32)
                    samples = np.concatenate([samples, one.sums[slot], closing])
                sent[row] = samples
        return Sound(sent, is_finite)

    def _by_rate(self, slots: IntArray, *, begins: BoolArray, controls: Sequence[Any]) -> list[_Group]:
        rates = np.array([one.rate_hz for one in controls])
        groups = list[_Group]()
        for rate_hz in np.unique(rates).tolist():
            if rate_hz not in self._rates:
                rate = OverlapAdd(self._bundle, rate_hz)
                self._rates[rate_hz] = rate, np.zeros((self._buffers.spare_slot, rate.look_back), np.float32)
            rate, sums = self._rates[rate_hz]
            rows = np.flatnonzero(rates == rate_hz)
            sums[slots[rows[begins[rows]]]] = 0
            groups.append(_Group(rate, sums, rows, slots[rows]))
        return groups

    def _write_rows(self, slots: IntArray, controls: Sequence[Any]) -> None:
        """What does not change from piece to piece; rows behind write to spare slots."""
        values, rows = self._buffers.values, len(slots)
        covered = next(size for size in self._buckets if size >= rows)
        spare = self._buffers.spare_slot + np.arange(covered - rows)
        values["slots"].write(np.concatenate([slots, spare]))
        values["voices"].write(np.array([one.weights for one in controls], np.float32))
        values["pitch"].write(np.array([one.pitch for one in controls], np.float32))

    def _call(self, size: int, frames: Frames, firsts: IntArray, seeds: IntArray) -> BoolArray:
        """The next frames of all rows, [B, size, W]. -> is_finite [B]"""
        values, rows = self._buffers.values, len(frames)
        covered = next(bucket for bucket in self._buckets if bucket >= rows)
        values["noise_at"].write(noise_places(seeds, firsts * self._bundle.samples_per_code))
        values["begins"].write(firsts == 0)
        self._buffers.write_frames(frames)
        call = self._calls[covered, size]
        call.launch()
        call.wait()
        is_finite: BoolArray = np.isfinite(values["scores"].read(0, rows))
        return is_finite

    def _sounding(self, size: int, rows: int, group: _Group) -> FloatArray:
        """What the last call made of the rows of one rate, [R, n]; samples of the voice's own rate lie there ready."""
        rate, sums = group.rate, group.sums
        if rate.rate_hz != self._bundle.sample_rate_hz:
            spectra = self._buffers.spectra[size].read(0, rows)[group.rows]
            made, sums[group.slots] = rate.run(spectra, sums[group.slots])
            return made
        samples = self._buffers.samples[size].read(0, rows).reshape(rows, -1)
        new = size * self._bundle.samples_per_code
        sums[group.slots] = samples[group.rows, new : new + rate.look_back]
        sounding: FloatArray = samples[group.rows, :new] if len(group.rows) < rows else samples[:, :new]
        return sounding
