"""All settings of the server: `PARLANDO_*` variables, overridden by flags.

No other file reads the environment. Kubernetes adds variables of its own for a Service named `parlando` or
`parlando-...` (`PARLANDO_PORT=tcp://10.0.0.1:8000`): service links, which are no settings.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from engines.config import MAX_DRAFT_TOLERANCE
from engines.errors import ConfigError
from engines.families.shipped import DEFAULT, bundle_folder
from engines.messages import LeadingSilence

PREFIX = "PARLANDO_"
MAX_ENGINES = 8  # one edge feeds no more
_CORES_EACH = 2  # of an engine: one for the speech model, one for the vocoder
_LINK_NAME = re.compile(r"_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_PORT|_ADDR)?)$")
_LINK_VALUE = re.compile(r"(?:tcp|udp|sctp)://")


class EngineMode(StrEnum):
    PROCESS = "process"
    THREAD = "thread"


class _Environment(EnvSettingsSource):
    """Without service links."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        return (None if _is_link(PREFIX + field_name, value) else value), key, is_complex


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0: any free one")
    bundle: Path | None = Field(None, description=f"model folder, or a voice that ships; unset: `{DEFAULT}`")
    engine_mode: EngineMode = Field(EngineMode.PROCESS, description="run the engine in its own process or in a thread")
    pronunciations: Path | None = Field(None, description="folder of pronunciation dictionaries; unset: none")
    voices: Path | None = Field(
        None, description="folder of cloned voices; unset: the bundle's own, and clients can add none"
    )
    model_aliases: str = Field("", description="comma-separated: other names under which clients may ask for the model")
    voice_aliases: str = Field("", description="comma-separated NAME=VOICE; VOICE is an id or a mix")
    engines: str = Field(
        "1",
        pattern="^(?:[1-8]|auto)$",
        description="engine processes, 1 to 8; auto: one for every two cores, one with a GPU form",
    )
    slots: int = Field(128, ge=1, description="maximum number of streams generated concurrently")
    prefill_positions: int = Field(256, ge=8, description="prompt positions of one call of the speech model")
    max_ttfa_s: float = Field(0.25, gt=0, description="requests with a predicted TTFA above this are rejected")
    shed: bool = Field(True, description="reject requests that cannot be served in time; off: only `slots` limits")
    lm_threads: int = Field(1, ge=1, description="threads of the speech model")
    vocoder_threads: int = Field(1, ge=1, description="threads of the vocoder")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: a GPU that has a GPU form and passes its self-test, otherwise the CPU"
    )
    gpu_form: Path | None = Field(None, description="folder that `parlando export-gpu` wrote; unset: none")
    deterministic: bool = Field(
        False,
        description="on a GPU: a seed's audio is the same bit for bit, at a cost that the log names; the CPU always is",
    )
    own_kernels: Literal["auto", "off", "avx2", "avx512"] = Field(
        "auto", description="form of parlando's CPU kernels; auto: the fastest that runs here; off: ONNX Runtime's"
    )
    engine_nice: int = Field(5, ge=0, le=19, description="nice value of the engine process, on top of the server's")
    draft_tolerance: int = Field(
        0,
        ge=0,
        le=MAX_DRAFT_TOLERANCE,
        description="levels by which an accepted draft may differ; above 0 a seed no longer fixes the audio",
    )
    seed: int | None = Field(None, ge=0, lt=2**63, description="default seed; unset: a random one for each request")
    leading_silence: LeadingSilence = Field(
        LeadingSilence.TRIM,
        description="trim: audio begins with the first audible sound; keep: with what precedes it",
    )
    skip_reasoning: bool = Field(True, description="leave out `<think>`, `<thinking>` and `<reasoning>` blocks")
    skip_directions: bool = Field(True, description="leave out stage directions such as `[laughs]` and `*sighs*`")
    max_characters: int = Field(4096, ge=1, description="maximum text of one utterance, in characters")
    max_message_bytes: int = Field(65_536, ge=1_024, description="maximum size of one WebSocket message")
    max_body_bytes: int = Field(262_144, ge=1_024, description="maximum body of one HTTP request")
    max_recording_bytes: int = Field(2**24, ge=1_024, description="the same of a recording that becomes a voice")
    max_held_bytes: int = Field(2**28, ge=2**20, description="memory for all answers whose length must be known first")
    max_head_bytes: int = Field(65_536, ge=4_096, description="maximum head of one HTTP request")
    max_contexts: int = Field(
        16, ge=1, description="utterances at once on one WebSocket (ElevenLabs' multi-stream: 64)"
    )
    max_connections: int = Field(1_024, ge=1, description="maximum number of open requests and WebSockets")
    outbox_chunks: int = Field(64, ge=4, description="chunks kept for a slow listener before its generation pauses")

    idle_s: float = Field(
        60.0, gt=0, description="a WebSocket without messages for so long is closed (some dialects: later)"
    )
    first_audio_s: float = Field(15.0, gt=0, description="deadline from the end of the text to the first audio")
    utterance_s: float = Field(900.0, gt=0, description="deadline of an utterance")
    send_timeout_s: float = Field(15.0, gt=0, description="a listener that reads nothing for this long is disconnected")
    resume_s: float = Field(
        0.0, ge=0, description="an utterance of parlando.v1 whose connection broke is kept for so long; 0: it ends"
    )
    body_timeout_s: float = Field(15.0, gt=0, description="deadline of a request's head, and then of its body")
    drain_delay_s: float = Field(0.0, ge=0, description="time after SIGTERM in which new requests are still served")
    drain_s: float = Field(60.0, ge=0, description="time for utterances in progress after that")
    engine_silence_s: float = Field(5.0, ge=1.5, description="an engine that is silent for this long is restarted")

    api_keys: str = Field("", description="comma-separated API keys; empty and no file: no key is needed")
    api_keys_file: Path | None = Field(None, description="file with one API key a line, each with its quota")
    key_streams: int | None = Field(None, ge=1, description="default quota of a key: utterances in progress")
    key_characters_per_minute: int | None = Field(None, ge=1, description="default quota of a key: characters a minute")
    key_dictionaries: int = Field(64, ge=0, description="pronunciation dictionaries that one key may add")
    anonymous_dictionaries: int = Field(16, ge=0, description="the same of one address without a key")
    key_voices: int = Field(16, ge=0, description="voices that one key may add")
    anonymous_voices: int = Field(4, ge=0, description="the same of one address without a key")
    allowed_origins: str = Field("", description="comma-separated origins of web pages, or *; empty: the server's own")
    allowed_hosts: str = Field(
        "", description="comma-separated names, *.name or *; empty: localhost when bound to loopback, otherwise any"
    )
    metrics_port: int | None = Field(None, ge=0, le=65535, description="serve /metrics there, not on the main port")
    wyoming_port: int | None = Field(None, ge=0, le=65535, description="serve Wyoming (Home Assistant) there, over TCP")
    wyoming_key: str | None = Field(None, description="API key on whose account Wyoming's clients speak")
    ssl_certfile: Path | None = Field(None, description="PEM certificate; with it the server speaks TLS")
    ssl_keyfile: Path | None = Field(None, description="PEM key, unless the certificate's file holds it")
    log_text: bool = Field(False, description="log texts; off: only their length")

    @field_validator(
        "host", "bundle", "pronunciations", "voices", "gpu_form", "api_keys_file", "ssl_certfile", "ssl_keyfile",
        mode="before",
    )  # fmt: skip
    @classmethod
    def _is_something(cls, given: Any) -> Any:
        """An empty path would be the working directory, an empty host every address."""
        if given == "":
            raise ValueError("leave it out, or set it")
        return given

    @field_validator("bundle")
    @classmethod
    def _is_a_folder(cls, given: Path | None) -> Path | None:
        return given and bundle_folder(given)

    @field_validator("allowed_hosts")
    @classmethod
    def _names_hosts(cls, commas: str) -> str:
        for name in _listed(commas):
            if "/" in name:
                raise ValueError(f"write names, as in a.example, not {name!r}")
        return commas

    @model_validator(mode="after")
    def _has_a_certificate(self) -> Self:
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile needs ssl_certfile: the certificate that the key is of")
        return self

    @field_validator("voice_aliases")
    @classmethod
    def _names_voices(cls, commas: str) -> str:
        for name, voice in _named(commas):
            if not name or not voice:
                raise ValueError(f"write NAME=VOICE, comma-separated, not {name or voice!r}")
        return commas

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls)

    @classmethod
    def with_flags(cls, flags: dict[str, Any]) -> Settings:
        """Flags win over the environment. Raises ConfigError, which names every flag or variable at fault."""
        try:
            return cls(**flags)
        except ValidationError as error:
            raise ConfigError("\n".join(_at_fault(one, flags) for one in error.errors())) from error

    @property
    def keys(self) -> frozenset[str]:
        return _listed(self.api_keys)

    @property
    def model_names(self) -> list[str]:
        return sorted(_listed(self.model_aliases))

    @property
    def voice_names(self) -> dict[str, str]:
        return dict(_named(self.voice_aliases))

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(host.lower() for host in _listed(self.allowed_hosts))

    @property
    def origins(self) -> frozenset[str]:
        return _listed(self.allowed_origins)


def num_engines(settings: Settings) -> int:
    if settings.engines != "auto":
        return int(settings.engines)
    if settings.gpu_form is not None and settings.device != "cpu":
        return 1  # several would take turns on the one device
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_ENGINES, cores // _CORES_EACH))


def unknown_variables() -> dict[str, str | None]:
    """PARLANDO_* variables that set nothing, each with the one that may be meant."""
    known = [name.upper() for name in Settings.model_fields]
    unknown = {}
    for variable, value in os.environ.items():
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known and not _is_link(variable, value):
            near = get_close_matches(name, known, 1)
            unknown[variable] = PREFIX + near[0] if near else None
    return unknown


def _is_link(name: str, value: Any) -> bool:
    name = name.upper()
    linked = name.endswith("_PORT") and isinstance(value, str) and _LINK_VALUE.match(value)
    return bool(linked or _LINK_NAME.search(name))


def _at_fault(error: Any, flags: dict[str, Any]) -> str:
    if not error["loc"]:  # of several together
        return str(error["ctx"]["error"])
    name = ".".join(map(str, error["loc"]))
    where = f"--{name.replace('_', '-')}" if name in flags else PREFIX + name.upper()
    return f"{where} is {str(error['input'])!r}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _listed(commas: str) -> frozenset[str]:
    return frozenset(item.strip() for item in commas.split(",") if item.strip())


def _named(commas: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in sorted(_listed(commas)))
    return [(name.strip(), voice.strip()) for name, _, voice in pairs]
