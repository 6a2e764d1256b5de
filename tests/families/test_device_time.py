"""A device works while the thread that called it sleeps: the profile has its time all the same.

Sleeps are the device here. A sleep may take longer than it was asked for, never less, so the bounds hold anywhere.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.messages import Append, EndText, Submit
from tests.families.toy_engine import toy_engine

STEP_S, JOB_S = 0.008, 0.015


class _Slept:
    def __init__(self, pending: Any, seconds: float) -> None:
        self._pending, self._seconds = pending, seconds

    def wait(self) -> Any:
        time.sleep(self._seconds)
        return self._pending.wait()


class _Awaited:
    def __init__(self, made: Any) -> None:
        self._made = made

    def wait(self) -> Any:
        return self._made.result()


class _Talker:
    def __init__(self, talker: Any) -> None:
        self._talker = talker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._talker, name)

    def step(self, *given: Any) -> _Slept:
        return _Slept(self._talker.step(*given), STEP_S)


class _Vocoder:
    """As a device's, it has a thread of its own."""

    def __init__(self, vocoder: Any, thread: ThreadPoolExecutor) -> None:
        self._vocoder, self._thread = vocoder, thread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vocoder, name)

    def run(self, *given: Any) -> _Awaited:
        return _Awaited(self._thread.submit(lambda: _Slept(self._vocoder.run(*given), JOB_S).wait()))


@pytest.fixture
def engine() -> Any:
    plain = toy_engine("prefix", EngineConfig(slots=16, drafts=DraftMode.OFF, sheds=False))
    with ThreadPoolExecutor(1) as thread:
        talker, vocoder = _Talker(plain.model.talker), _Vocoder(plain.model.vocoder, thread)
        made = Engine(replace(plain.model, talker=talker, vocoder=vocoder, awaits=True), plain.config)
        yield made
        made.close()
        plain.close()


def test_calls_take_their_time(engine: Engine) -> None:
    engine.measure()
    profile = engine.profile
    for size in (1, 16):
        assert profile.steps(size) >= STEP_S
        assert profile.jobs(size) >= JOB_S
    assert profile.lone_rtf * profile.frame_s >= JOB_S


def test_full_batches_do_not_unlearn_it(engine: Engine) -> None:
    engine.measure()
    for number in range(16):
        engine.submit(Submit(request_id=f"s{number}", voice=engine.spec.voices[0].id, seed=number))
        engine.submit(Append(request_id=f"s{number}", text="All of these words are spoken by each of them. "))
        engine.submit(EndText(request_id=f"s{number}"))
    while not engine.empty:
        engine.step()
        if not engine.has_work and not engine.empty:
            engine.wait(1.0)
    assert engine.profile.step_s(16) >= STEP_S / 2
