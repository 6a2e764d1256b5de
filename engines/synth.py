"""Speaks one text in this process, without a server: for the command line, tests and measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engines.engine import Engine
from engines.errors import EngineFault, error_of
from engines.messages import (
    Append,
    Chunk,
    EndText,
    Failed,
    Finished,
    LeadingSilence,
    Submit,
    Timings,
    WordTime,
    options,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenText:
    pcm: bytes  # s16le mono
    sample_rate_hz: int
    words: tuple[WordTime, ...]
    timings: Timings


def stream(engine: Engine, submit: Submit, text: str) -> Iterator[Chunk | Finished]:
    """Chunks as they are made, then the end. Drives the engine, which must have no other work. Raises ParlandoError,
    Overloaded with its `retry_after_s` among them."""
    engine.submit(submit)
    engine.submit(Append(request_id=submit.request_id, text=text))
    engine.submit(EndText(request_id=submit.request_id))
    while True:
        for event in engine.step():
            match event:
                case Chunk() | Finished():
                    yield event
                case Failed():
                    raise error_of(event.code, event.message, event.retry_after_s)
            if isinstance(event, Finished):
                return
        if not engine.has_work:
            engine.wait(1.0)


def speak(
    engine: Engine,
    text: str,
    *,
    voice: str | None = None,
    seed: int = 0,
    sample_rate_hz: int = 24_000,
    leading_silence: LeadingSilence = LeadingSilence.TRIM,
    **asked: Any,
) -> SpokenText:
    """The whole utterance at once. `asked`: options of the model's family."""
    submit = Submit(
        request_id="speak",
        voice=voice or engine.spec.voices[0].id,
        seed=seed,
        sample_rate_hz=sample_rate_hz,
        leading_silence=leading_silence,
        options=options(**asked),
    )
    pcm: list[bytes] = []
    words: list[WordTime] = []
    for event in stream(engine, submit, text):
        if isinstance(event, Finished):
            return SpokenText(
                pcm=b"".join(pcm), sample_rate_hz=sample_rate_hz, words=tuple(words), timings=event.timings
            )
        pcm.append(event.pcm)
        words += event.words
    raise EngineFault("the engine stopped before the utterance was finished")
