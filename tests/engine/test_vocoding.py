"""Jobs of the vocoder's worker: one runs, one may wait, an urgent one goes before that."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from engines.families.base import BoolArray, Controls, Frames, Pending, Sound
from engines.families.phone_pointer.bundle import Bundle
from engines.families.phone_pointer.script import VoiceControls
from engines.runtime.base import IntArray
from engines.sequence import VocoderRow
from engines.vocoding import Vocoding
from tests.engine.toys import FakeClock, ToyVocoder

_WITHIN_S = 20.0


class HeldVocoder(ToyVocoder):
    """Each job waits for a `go`."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, FakeClock(), 0.0, 0.0)
        self.go = threading.Semaphore(0)
        self.busy = threading.Event()

    def run(
        self,
        slots: IntArray,
        frames: Frames,
        first_frames: IntArray,
        seeds: IntArray,
        controls: Sequence[Controls],
        is_last: BoolArray,
    ) -> Pending[Sound]:
        self.busy.set()
        assert self.go.acquire(timeout=_WITHIN_S)
        return super().run(slots, frames, first_frames, seeds, controls, is_last)


def row(name: str, slot: int) -> VocoderRow:
    return VocoderRow(
        slot=slot,
        request_id=name,
        frames=np.array([[1], [2]]),
        first_frame=0,
        end_frame=2,
        controls=VoiceControls((1.0, 0.0, 0.0, 0.0), 1.0, 24_000),
        seed=0,
        closes=False,
        last=False,
    )


def finished(vocoding: Vocoding, count: int) -> list[str]:
    names: list[str] = []
    until_s = time.monotonic() + _WITHIN_S
    while len(names) < count and time.monotonic() < until_s:
        done = vocoding.collect()
        if done is None:
            time.sleep(1e-3)
        else:
            assert all(isinstance(pcm, bytes) for pcm in done.pcm)
            names += [one.request_id for one in done.rows]
    return names


def test_an_urgent_job_goes_before_the_one_that_waits(bundle: Bundle) -> None:
    runtime = HeldVocoder(bundle)
    vocoding = Vocoding(runtime, lambda: None, time.monotonic)
    try:
        vocoding.start([row("runs", 0)], urgent=False)
        assert runtime.busy.wait(_WITHIN_S)
        assert vocoding.room(urgent=False)
        vocoding.start([row("waits", 1)], urgent=False)
        assert not vocoding.room(urgent=False)
        assert vocoding.room(urgent=True)
        vocoding.start([row("urgent", 2)], urgent=True)
        assert not vocoding.room(urgent=True)
        with pytest.raises(AssertionError):
            vocoding.start([row("too many", 3)], urgent=True)
        runtime.go.release(3)
        assert finished(vocoding, 3) == ["runs", "urgent", "waits"]
    finally:
        runtime.go.release(9)
        vocoding.close()


def test_jobs_of_one_kind_keep_their_order_and_are_done_before_the_end(bundle: Bundle) -> None:
    runtime = HeldVocoder(bundle)
    vocoding = Vocoding(runtime, lambda: None, time.monotonic)
    vocoding.start([row("first", 0)], urgent=True)
    vocoding.start([row("second", 1)], urgent=True)
    vocoding.start([row("third", 2)], urgent=True)
    runtime.go.release(3)
    vocoding.close()
    assert finished(vocoding, 3) == ["first", "second", "third"]


def test_without_a_worker_a_job_is_done_when_it_was_given(bundle: Bundle) -> None:
    vocoding = Vocoding(ToyVocoder(bundle, FakeClock(), 0.0, 0.0), None, time.monotonic)
    vocoding.start([row("one", 0)], urgent=False)
    assert not vocoding.room(urgent=True)
    assert finished(vocoding, 1) == ["one"]
    assert vocoding.room(urgent=False)
