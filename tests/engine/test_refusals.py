"""What the engine refuses, as typed errors for those who drive it in their own process."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.errors import (
    BadParameter,
    EngineFault,
    IntegrityError,
    Overloaded,
    RequestError,
    UnknownVoice,
    UnspeakableText,
    error_of,
)
from engines.families.phone_pointer.bundle import load_bundle
from engines.messages import Append, Failed, Submit
from engines.synth import speak


def test_a_full_engine_says_when_to_come_back() -> None:
    engine = load_engine(load_bundle(Path("flite")), EngineConfig(slots=1, sheds=False, workers=False))
    engine.submit(Submit(request_id="first", voice="rms", seed=0))
    with pytest.raises(Overloaded, match="all 1 streams are in use") as refused:
        speak(engine, "There is no room for this.")
    assert refused.value.retry_after_s > 0
    engine.close()


def test_a_lost_slot_is_found() -> None:
    engine = load_engine(load_bundle(Path("flite")), EngineConfig(slots=2, sheds=False, workers=False))
    engine.step()
    engine._slots._free.pop()
    with pytest.raises(IntegrityError, match=r"slots \[0\] are free, \[\] leased, of 2"):
        engine.step()
    engine.close()


def test_what_ran_on_an_engine_that_died_is_not_shed() -> None:
    engine = load_engine(load_bundle(Path("flite")), EngineConfig(slots=3, max_ttfa_s=1e-9, workers=False))
    first = Submit(request_id="first", voice="rms", seed=0)
    engine.submit(first)
    engine.submit(Append(request_id="first", text="One stream speaks already."))
    engine.submit(replace(first, request_id="new"))
    engine.submit(replace(first, request_id="moved", is_admitted=True))
    failed = [event for event in engine.step() if isinstance(event, Failed)]
    assert [(event.request_id, event.code) for event in failed] == [("new", "overloaded")]
    engine.close()


def test_callers_faults_have_their_own_types() -> None:
    engine = load_engine(load_bundle(Path("flite")), EngineConfig(slots=1, workers=False))
    with pytest.raises(UnknownVoice, match="nobody"):
        speak(engine, "Hello.", voice="nobody")
    with pytest.raises(BadParameter, match="speed"):
        speak(engine, "Hello.", speed=9.0)
    with pytest.raises(UnspeakableText):
        speak(engine, "😀")
    assert speak(engine, "Hello.").pcm
    engine.close()


def test_every_code_has_its_error() -> None:
    assert isinstance(error_of("overloaded", "full", 2.0), Overloaded)
    assert isinstance(error_of("invalid_request", "no"), RequestError)
    assert isinstance(error_of("engine_fault", "not finite"), EngineFault)
