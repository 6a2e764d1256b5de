"""What an utterance needs of the server, and no more: engine, limits, metrics and time. The application provides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engines.families.base import ModelSpec
from engines.families.bundle import Bundle
from server.engine.pool import EnginePool
from server.metrics import Metrics
from server.settings import Settings
from server.shutdown import Live
from server.speech.cloned_voices import ClonedVoices


class SpeechService(Protocol):
    @property
    def settings(self) -> Settings: ...

    @property
    def bundle(self) -> Bundle: ...

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def cloned(self) -> ClonedVoices: ...

    @property
    def engine(self) -> EnginePool: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def live(self) -> Live: ...

    def check_length(self, characters: int, param: str) -> None:
        """Raises ApiError beyond the limit of one utterance."""
        ...
