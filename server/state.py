"""What every route needs, made once at start and kept on the application."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from engines.bundle import Bundle
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
    warm: bool = False  # a first utterance has come out of the engine
    draining: bool = False
    live: set[str] = field(default_factory=set)  # utterances that a drain waits for

    @property
    def ready(self) -> bool:
        return self.warm and self.engine.ready and not self.draining

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
        """Any key passes when none is configured."""
        keys = self.settings.keys
        if not keys:
            return
        given = connection.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not any(hmac.compare_digest(given.encode(), key.encode()) for key in keys):
            raise ApiError("invalid_api_key", "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'")

    def check_accepting(self) -> None:
        if not self.ready:
            reason = "draining" if self.draining else "starting"
            raise ApiError("not_ready", f"the server is {reason}; try again in a moment", retry_after_s=1)


def state_of(connection: HTTPConnection) -> State:
    state: State = connection.app.state.parlando
    return state
