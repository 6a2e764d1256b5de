"""An engine without workers, driven by hand, and what it speaks."""

from __future__ import annotations

from collections.abc import Callable

from engines.engine import Engine
from engines.messages import Append, Chunk, EndText, Event, Finished, Submit

TEXT = "Hello there, this is a test. Would you like 3 cups of tea, or nothing at all?"
OTHERS = (
    "The quick brown fox jumps over the lazy dog.",
    "Yes.",
    "One, two, three, four, five, six, seven, eight, nine, ten!",
    "It was a bright cold day in April, and the clocks were striking thirteen.",
)
Make = Callable[..., Engine]


def settle(engine: Engine) -> list[Event]:
    """Steps until there is nothing left to do without new commands."""
    events: list[Event] = []
    while engine.has_work:
        events += engine.step()
    return events


def pcm_of(events: list[Event], name: str) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, Chunk) and event.request_id == name)


def submit(engine: Engine, name: str, seed: int = 3, voice: int = 0) -> Submit:
    return Submit(request_id=name, voice=engine.spec.voices[voice].id, seed=seed)


def whole(engine: Engine, text: str = TEXT, seed: int = 3, voice: int = 0) -> bytes:
    engine.submit(submit(engine, "whole", seed, voice))
    engine.submit(Append(request_id="whole", text=text))
    engine.submit(EndText(request_id="whole"))
    events = settle(engine)
    assert any(isinstance(event, Finished) for event in events)
    return pcm_of(events, "whole")
