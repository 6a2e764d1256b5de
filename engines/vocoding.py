"""Codes to samples for many sequences, in the loop's thread or in a worker of its own.

All vocoder state lives here, by slot, and is touched only while a job runs; jobs run one after another, so the arrays
need no lock. One may wait behind the one that runs, so that the worker does not stand still until the loop comes round;
an urgent one may come between the two. A sequence is in one job at a time, and its slot is not given away meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import PriorityQueue, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.errors import EngineFault
from engines.families.phone_pointer.overlap_add import OverlapAdd, to_s16
from engines.families.phone_pointer.voice_mix import weights
from engines.randomness import noise
from engines.runtime.base import FloatArray, VocoderRuntime
from engines.sequence import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderRow:
    """One sequence's share of a job. With `last`, its open sums and the closing silence follow its codes, if any."""

    slot: int
    request_id: str
    codes: tuple[int, ...]
    first_code: int
    voices: tuple[float, ...]  # weights, by index
    pitch: float  # ratio
    seed: int
    rate_hz: int
    last: bool

    @classmethod
    def take(cls, sequence: Sequence, count: int) -> VocoderRow:
        """The sequence's next `count` codes; they count as handed over from here on."""
        first, end = sequence.vocoded, sequence.vocoded + count
        last = sequence.spoken_out and end == len(sequence.codes)
        sequence.vocoded, sequence.in_vocoder, sequence.flushed_tail = end, True, last
        return cls(
            slot=sequence.slot,
            request_id=sequence.request.request_id,
            codes=tuple(sequence.codes[first:end]),
            first_code=first,
            voices=sequence.weights,
            pitch=sequence.pitch,
            seed=sequence.request.seed,
            rate_hz=sequence.request.sample_rate_hz,
            last=last,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocoded:
    """A finished job: by row its PCM, or what went wrong with it."""

    rows: list[VocoderRow]
    pcm: list[bytes | EngineFault]
    busy_s: float


class Vocoding:
    def __init__(
        self,
        bundle: Bundle,
        runtime: VocoderRuntime,
        slots: int,
        wake: Callable[[], None] | None,
        clock: Callable[[], float],
    ) -> None:
        """With `wake`, jobs run on a worker thread that calls it after each; without, inside `start`."""
        self._bundle, self._runtime, self._wake, self._clock = bundle, runtime, wake, clock
        self._state = runtime.initial_state(slots)
        self._sums: dict[int, FloatArray] = {}  # open sums of each slot
        self._rates: dict[int, OverlapAdd] = {}
        self._finished: SimpleQueue[Vocoded] = SimpleQueue()
        self._jobs: PriorityQueue[tuple[bool, int, list[VocoderRow]]] = PriorityQueue()  # (can wait, order, rows)
        self._order = itertools.count()
        self._jobs_at_once = 1 if wake is None else 2
        self._in_flight = 0
        self._began_s: float | None = None
        self._worker: threading.Thread | None = None
        if wake is not None:
            self._worker = threading.Thread(target=self._work, name="vocoder", daemon=True)
            self._worker.start()

    def try_job(self, *, rows: int, codes: int) -> None:
        """A job for no sequence, in the caller's thread. Only while no slot is leased: what it leaves in the first
        slots' states is cleared when a sequence begins there."""
        assert self.idle, "a job is in flight"
        bundle = self._bundle
        self._synthesise(
            [
                VocoderRow(
                    slot=slot,
                    request_id="",
                    codes=(0,) * codes,
                    first_code=0,
                    voices=weights(bundle, bundle.voices[0].id, ()),
                    pitch=1.0,
                    seed=0,
                    rate_hz=bundle.sample_rate_hz,
                    last=False,
                )
                for slot in range(rows)
            ]
        )

    def start(self, rows: list[VocoderRow], *, urgent: bool) -> None:
        """All rows bring the same number of codes. Not without `room`."""
        assert self.room(urgent=urgent), "a job runs and another waits"
        self._in_flight += 1
        if self._worker is None:
            self._finished.put(self._run(rows))
        else:
            self._jobs.put((not urgent, next(self._order), rows))

    def room(self, *, urgent: bool) -> bool:
        """Whether another job may be given; an urgent one goes before one that waits."""
        return self._in_flight < self._jobs_at_once + (urgent and self._worker is not None)

    @property
    def idle(self) -> bool:
        return self._in_flight == 0

    @property
    def has_finished(self) -> bool:
        return not self._finished.empty()

    @property
    def job_s(self) -> float:
        """How long the job that runs has been running; 0 without one."""
        began_s = self._began_s
        return 0.0 if began_s is None else self._clock() - began_s

    def collect(self) -> Vocoded | None:
        """The job that has finished since the last call, if one has."""
        if self._finished.empty():
            return None
        self._in_flight -= 1
        return self._finished.get()

    def close(self) -> None:
        if self._worker is not None:
            self._jobs.put((True, next(self._order), []))
            self._worker.join(timeout=5)

    def _work(self) -> None:
        assert self._wake is not None
        while rows := self._jobs.get()[-1]:
            self._finished.put(self._run(rows))
            self._wake()

    def _run(self, rows: list[VocoderRow]) -> Vocoded:
        started_s = self._began_s = self._clock()
        try:
            pcm = self._synthesise(rows)
        except Exception as error:  # whatever the backend raises belongs to these rows, not to the loop
            pcm = [EngineFault(f"the vocoder failed: {error}")] * len(rows)
        self._began_s = None
        return Vocoded(rows=rows, pcm=pcm, busy_s=self._clock() - started_s)

    def _synthesise(self, rows: list[VocoderRow]) -> list[bytes | EngineFault]:
        for row in rows:
            if row.first_code == 0:
                self._reset(row)
        if not rows[0].codes:
            return [self._pcm(row, np.zeros(0, np.int16)) for row in rows]
        slots = [row.slot for row in rows]
        samples = self._bundle.samples_per_code
        codes = np.array([row.codes for row in rows], np.int64)
        # Source samples reach back before the first new one; before sample 0 they are drawn the same way.
        count = self._bundle.look_back + codes.shape[1] * samples
        excitation = np.stack([noise(row.seed, row.first_code * samples, count) for row in rows])
        voices = np.array([row.voices for row in rows], np.float32)
        pitch = np.array([row.pitch for row in rows], np.float32)
        state = {name: array[slots] for name, array in self._state.items()}
        spectrum, state = self._runtime.run(codes, voices, pitch, excitation, state)
        for name, array in state.items():
            self._state[name][slots] = array
        spoken: list[bytes | EngineFault] = [EngineFault("the vocoder returned values that are not finite")] * len(rows)
        sound = [bool(np.isfinite(frames).all()) for frames in spectrum]
        for rate_hz in {row.rate_hz for row, good in zip(rows, sound, strict=True) if good}:
            found = [at for at, row in enumerate(rows) if sound[at] and row.rate_hz == rate_hz]
            for at, samples in zip(found, self._samples(rate_hz, [rows[at] for at in found], spectrum[found])):
                spoken[at] = self._pcm(rows[at], samples)
        return spoken

    def _reset(self, row: VocoderRow) -> None:
        for array in self._state.values():
            array[row.slot] = 0
        self._sums[row.slot] = self._rate(row.rate_hz).start()

    def _rate(self, rate_hz: int) -> OverlapAdd:
        if rate_hz not in self._rates:
            self._rates[rate_hz] = OverlapAdd(self._bundle, rate_hz)
        return self._rates[rate_hz]

    def _samples(self, rate_hz: int, rows: list[VocoderRow], spectrum: FloatArray) -> NDArray[np.int16]:
        """spectrum [R, F, 2, bins] of rows with this rate -> [R, F * hop]"""
        rate = self._rate(rate_hz)
        samples, sums = rate.run(spectrum, np.stack([self._sums[row.slot] for row in rows]))
        for row, open_sums in zip(rows, sums, strict=True):
            self._sums[row.slot] = open_sums
        return to_s16(samples)

    def _pcm(self, row: VocoderRow, samples: NDArray[np.int16]) -> bytes:
        """What the listener gets: nothing of the time before sample 0, and with the last chunk the open sums and the
        closing silence."""
        rate = self._rate(row.rate_hz)
        pcm = samples[rate.look_back if row.first_code == 0 else 0 :].tobytes()
        if row.last:
            closing = np.zeros(self._bundle.durations.closing_hops * rate.hop, np.int16)
            pcm += to_s16(self._sums[row.slot]).tobytes() + closing.tobytes()
        return pcm
