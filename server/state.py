"""What every route needs, made once at start and kept on the application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from engines.bundle import Bundle
from server.access import Access
from server.engine_client import EngineClient
from server.errors import ApiError
from server.metrics import Metrics
from server.settings import Settings

MODEL_ALIASES = ("default", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")
MIN_SPEED, MAX_SPEED = 0.75, 1.33


@dataclass(slots=True, kw_only=True)
class State:
    settings: Settings
    bundle: Bundle
    engine: EngineClient
    metrics: Metrics
    access: Access
    clock: Callable[[], float] = time.monotonic
    live: set[str] = field(default_factory=set)  # utterances that a drain waits for
    drain: asyncio.Event = field(default_factory=asyncio.Event)  # set once: finish what lives, begin nothing new

    @property
    def draining(self) -> bool:
        return self.drain.is_set()

    @property
    def ready(self) -> bool:
        return self.engine.ready and not self.draining

    def voice(self, wanted: str | None) -> str:
        """A voice's id; None is the bundle's first."""
        if wanted is None:
            return self.bundle.voices[0].id
        if wanted not in [voice.id for voice in self.bundle.voices]:
            valid = ", ".join(voice.id for voice in self.bundle.voices)
            raise ApiError("unknown_voice", f"voice {wanted!r} does not exist; valid: {valid}", param="voice")
        return wanted

    def check_model(self, wanted: str) -> None:
        valid = (*MODEL_ALIASES, self.bundle.name)
        if wanted not in valid:
            message = f"model {wanted!r} does not exist; valid: {', '.join(valid)}"
            raise ApiError("unknown_model", message, param="model")

    def check_speed(self, speed: float) -> None:
        if not MIN_SPEED <= speed <= MAX_SPEED:
            message = f"speed {speed} is outside what this voice can say; valid: {MIN_SPEED} to {MAX_SPEED}"
            raise ApiError("invalid_parameter", message, param="speed")

    def check_key(self, connection: HTTPConnection) -> None:
        """The caller may speak: its page's origin and its key."""
        self.access.check_origin(connection)
        self.access.check_key(connection)

    def check_accepting(self) -> None:
        if self.draining:
            message = "the server is about to stop; connect again to reach another"
            raise ApiError("draining", message, retry_after_s=1)
        if not self.engine.ready:
            raise ApiError("not_ready", "the engine is starting; try again in a moment", retry_after_s=1)


def state_of(connection: HTTPConnection) -> State:
    state: State = connection.app.state.parlando
    return state
