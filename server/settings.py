"""All settings of the server: `PARLANDO_*` variables, overridden by flags.

No other file reads the environment.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EngineMode(StrEnum):
    PROCESS = "process"
    THREAD = "thread"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PARLANDO_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    bundle: Path | None = None  # None: the shipped voice
    engine_mode: EngineMode = EngineMode.PROCESS
    slots: int = Field(128, ge=1, description="streams at once")
    lm_threads: int = Field(1, ge=1)
    vocoder_threads: int = Field(1, ge=1)
    max_characters: int = Field(4096, ge=1, description="text of one utterance")
    max_message_bytes: int = Field(65_536, ge=1_024, description="one WebSocket message")
    outbox_chunks: int = Field(64, ge=4, description="chunks held for a slow listener before its generation pauses")
    send_timeout_s: float = Field(15.0, gt=0)
    drain_s: float = Field(60.0, ge=0, description="how long live utterances may finish after SIGTERM")
    ssl_certfile: Path | None = Field(None, description="PEM certificate; with it the server speaks TLS")
    ssl_keyfile: Path | None = Field(None, description="PEM key, when the certificate's file does not hold it")
    api_keys: str = Field("", description="comma-separated; empty: any key passes")
    log_text: bool = Field(False, description="log what is spoken; off, texts are logged as their length")

    @classmethod
    def with_flags(cls, flags: dict[str, Any]) -> Settings:
        """Flags win over the environment."""
        return cls(**flags)

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key.strip() for key in self.api_keys.split(",") if key.strip())
