"""Jobs of the vocoder's worker: one runs, one may wait, an urgent one goes before that."""

from __future__ import annotations

import threading
import time

import pytest

from engines.bundle import Bundle
from engines.runtime.base import FloatArray, IntArray, State
from engines.vocoding import VocoderRow, Vocoding
from tests.engine.toys import FakeClock, ToyVocoder

_WITHIN_S = 20.0


class HeldVocoder(ToyVocoder):
    """Each job waits for a `go`."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, FakeClock(), 0.0, 0.0)
        self.go = threading.Semaphore(0)
        self.busy = threading.Event()

    def run(
        self, codes: IntArray, voices: FloatArray, pitch: FloatArray, noise: FloatArray, state: State
    ) -> tuple[FloatArray, State]:
        self.busy.set()
        assert self.go.acquire(timeout=_WITHIN_S)
        return super().run(codes, voices, pitch, noise, state)


def row(name: str, slot: int, *, first_code: int = 0) -> VocoderRow:
    return VocoderRow(
        slot=slot,
        request_id=name,
        codes=(1, 2),
        first_code=first_code,
        voices=(1.0, 0.0, 0.0, 0.0),
        pitch=1.0,
        seed=0,
        rate_hz=24_000,
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
    vocoding = Vocoding(bundle, runtime, 4, lambda: None, time.monotonic)
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
        assert vocoding.idle
    finally:
        runtime.go.release(9)
        vocoding.close()


def test_jobs_of_one_kind_keep_their_order_and_are_done_before_the_end(bundle: Bundle) -> None:
    runtime = HeldVocoder(bundle)
    vocoding = Vocoding(bundle, runtime, 4, lambda: None, time.monotonic)
    vocoding.start([row("first", 0)], urgent=True)
    vocoding.start([row("second", 1)], urgent=True)
    vocoding.start([row("third", 2)], urgent=True)
    runtime.go.release(3)
    vocoding.close()
    assert finished(vocoding, 3) == ["first", "second", "third"]


def test_without_a_worker_a_job_is_done_when_it_was_given(bundle: Bundle) -> None:
    vocoding = Vocoding(bundle, ToyVocoder(bundle, FakeClock(), 0.0, 0.0), 4, None, time.monotonic)
    vocoding.start([row("one", 0)], urgent=False)
    assert not vocoding.room(urgent=True)
    assert finished(vocoding, 1) == ["one"]
    assert vocoding.room(urgent=False)
