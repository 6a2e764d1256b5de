"""An engine without workers, driven by hand."""

from __future__ import annotations

from engines.engine import Engine
from engines.messages import Chunk, Event


def settle(engine: Engine) -> list[Event]:
    """Steps until there is nothing left to do without new commands."""
    events: list[Event] = []
    while engine.has_work:
        events += engine.step()
    return events


def pcm_of(events: list[Event], name: str) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, Chunk) and event.request_id == name)
