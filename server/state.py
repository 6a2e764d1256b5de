"""What every route needs, made once at start and kept on the application."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from engines.errors import BadParameter, ConfigError, UnknownVoice
from engines.families.base import ModelSpec
from engines.families.bundle import Bundle, Voice
from engines.families.common.voice_mix import ChosenVoice, Shares, choose_voice, parse_mix
from server.access import Access
from server.engine.pool import EnginePool
from server.errors import ApiError
from server.http.connection_limit import ConnectionLimit
from server.http.held_bytes import Memory
from server.metrics import Metrics
from server.schemas import check_characters
from server.settings import Settings
from server.shutdown import Live, Shutdown
from server.speech.cloned_voices import ClonedVoice, ClonedVoices
from server.speech.kept import KeptUtterances
from server.speech.pronunciations import Dictionaries
from server.speech.voice_names import names_of

_DAY = re.compile(r"-\d{4}(?:-\d{2}-\d{2})?$", re.ASCII)
MODEL_ALIASES = ("default", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")


@dataclass(slots=True, kw_only=True)
class State:
    settings: Settings
    bundle: Bundle
    engine: EnginePool
    metrics: Metrics
    access: Access
    dictionaries: Dictionaries
    cloned: ClonedVoices
    connection_limit: ConnectionLimit
    held: Memory
    clock: Callable[[], float] = time.monotonic
    live: Live = field(default_factory=Live)  # a drain waits for them
    shutdown: Shutdown = field(init=False)
    kept: KeptUtterances = field(init=False)
    _voice_names: tuple[dict[str, ClonedVoice], dict[str, str]] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.shutdown = Shutdown(self.live)
        self.kept = KeptUtterances(self.settings.resume_s, self.settings.slots, self.shutdown)

    @property
    def ready(self) -> bool:
        return self.engine.ready and not self.shutdown.leaving

    async def drain(self) -> bool:
        """For any host: leaves as the settings say, without cutting a reply. Returns whether all have finished."""
        return await self.shutdown.drain(self.settings.drain_delay_s, self.settings.drain_s)

    @property
    def spec(self) -> ModelSpec:
        """Of the model. Raises ApiError before the engine has told it."""
        if (found := self.engine.spec) is None:
            raise _not_ready()
        return found

    @property
    def listed_voices(self) -> list[Voice | ClonedVoice]:
        """As of now; the bundle's own first, and of these the default."""
        return [*self.bundle.voices, *self.cloned.listed.values()]

    @property
    def voices(self) -> list[str]:
        return [voice.id for voice in self.listed_voices]

    def voice(self, voice_id: str) -> Voice | ClonedVoice:
        """Raises UnknownVoice."""
        return self.cloned.listed.get(voice_id) or self.bundle.voice(voice_id)

    @property
    def own_names(self) -> dict[str, str]:
        """The names that no client can take, and the voices that they are."""
        names = names_of(self.bundle.voices)
        return names | dict.fromkeys(self.settings.voice_names, "")

    @property
    def voice_names(self) -> dict[str, str]:
        """Every name of one voice, and that voice's id."""
        cloned = self.cloned.listed
        if self._voice_names is None or self._voice_names[0] is not cloned:
            names = {name: name for name in cloned} | names_of(self.bundle.voices)
            aliases = self.settings.voice_names.items()
            self._voice_names = cloned, names | {alias: names[voice] for alias, voice in aliases if voice in names}
        return self._voice_names[1]

    def check_voice_names(self) -> None:
        """Raises ConfigError for an alias of what there is not."""
        for alias, voice in self.settings.voice_names.items():
            try:
                self.chosen_voice(alias)
            except ApiError as error:
                raise ConfigError(f"voice_aliases, {alias}={voice}: {error.message}") from error

    def chosen_voice(self, voice: str | None, timbre: str | None = None) -> ChosenVoice:
        """Both by id, alias or as a mix; without a voice the bundle's first. Raises ApiError."""
        spoken = self._mix(self.voices[0] if voice is None else voice, "voice")
        return choose_voice(spoken, None if timbre is None else self._mix(timbre, "timbre"))

    def _mix(self, text: str, param: str) -> Shares:
        """A name that is unknown as it is written may be one in small letters: clients write `Ryan` and `RYAN`."""
        names, asked = self.voice_names, self.settings.voice_names.get(text, text)
        try:
            with suppress(UnknownVoice):
                return parse_mix(asked, names)
            with suppress(UnknownVoice):
                return parse_mix(asked.lower(), names)
            return parse_mix(asked, names)
        except (UnknownVoice, BadParameter) as error:
            raise ApiError(error.code, str(error), param=param) from error

    @property
    def models(self) -> tuple[str, ...]:
        """All names of the one model, its own first."""
        return (self.bundle.name, *MODEL_ALIASES, *self.settings.model_names)

    def check_model(self, wanted: str) -> None:
        """A published model may be asked for with its owner, `OWNER/NAME`, one of OpenAI's by its day too,
        `NAME-2025-12-15` or `NAME-1106`. Raises ApiError."""
        if _DAY.sub("", wanted) not in self.models and wanted.rpartition("/")[2] != self.bundle.name:
            message = f"model {wanted!r} does not exist; valid: {', '.join(self.models)}"
            raise ApiError("unknown_model", message, param="model")

    def check_length(self, characters: int, param: str = "text") -> None:
        limit = self.settings.max_characters
        if characters > limit:
            raise ApiError("text_too_long", f"{param} has {characters} characters, the limit is {limit}", param=param)

    def check_text(self, text: str, param: str) -> None:
        """All of it, that has come at once."""
        check_characters(text, param)
        self.check_length(len(text), param)

    def check_key(self, connection: HTTPConnection, key: str | None = None) -> None:
        """The caller may speak: its page's origin and its key, from its headers unless given."""
        self.access.check_origin(connection)
        self.access.check_key(connection, key)

    def refused(self, error: ApiError) -> None:
        """Counts a request that never became an utterance."""
        if not error.is_counted:
            self.metrics.refusals.labels(error.code).inc()

    def check_accepting(self) -> None:
        self.shutdown.check()
        if not self.engine.ready:
            raise _not_ready()


def _not_ready() -> ApiError:
    return ApiError("not_ready", "the engine is starting; try again in a moment", retry_after_s=1)


def state_of(connection: HTTPConnection) -> State:
    state: State = connection.app.state.parlando
    return state
