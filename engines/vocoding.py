"""Vocoder jobs for many sequences, in the loop's thread or in a worker of its own.

The Vocoder keeps its state by slot and is called from one thread, one job after another, so it needs no lock. One job
may wait behind the one that runs, so that the worker does not stand still until the loop comes round; an urgent one may
come between the two. A sequence is in one job at a time, and its slot is not given away meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import PriorityQueue, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineFault
from engines.families.base import Vocoder
from engines.runtime.base import FloatArray
from engines.sequence import VocoderRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocoded:
    """A finished job: by row its PCM, or what went wrong with it."""

    rows: list[VocoderRow]
    pcm: list[bytes | EngineFault]
    busy_s: float


class Vocoding:
    def __init__(self, vocoder: Vocoder, wake: Callable[[], None] | None, clock: Callable[[], float]) -> None:
        """With `wake`, jobs run on a worker thread that calls it after each; without, inside `start`."""
        self._vocoder, self._wake, self._clock = vocoder, wake, clock
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

    def start(self, rows: list[VocoderRow], *, urgent: bool) -> None:
        """All rows bring the same number of frames. Not without `room`."""
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
        sound = self._vocoder.run(
            np.array([row.slot for row in rows], np.int64),
            np.stack([row.frames for row in rows]),
            np.array([row.first_frame for row in rows], np.int64),
            np.array([row.seed for row in rows], np.int64),
            [row.controls for row in rows],
            np.array([row.closes for row in rows], np.bool_),
        ).wait()
        fault = EngineFault("the vocoder returned values that are not finite")
        return [
            to_s16(samples).tobytes() if finite else fault
            for samples, finite in zip(sound.samples, sound.is_finite.tolist(), strict=True)
        ]


def to_s16(samples: FloatArray) -> NDArray[np.int16]:
    """Clipped before rounding: without it 1.2 would wrap to a loud click."""
    scaled = np.minimum(np.maximum(samples, np.float32(-1)), np.float32(1))
    scaled *= np.float32(32767)
    whole: NDArray[np.int16] = np.rint(scaled, out=scaled).astype("<i2")
    return whole
