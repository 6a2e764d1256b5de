"""What `models.make_voice` is to make: of which speech, with how much training, in which folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.recordings.manifest import Manifest

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "voice" / "fixture"
BUDGETS = {  # CPU minutes: of a voice, of a smoke run
    "codec": (110.0, 0.25),
    "duration": (40.0, 0.1),
    "vocoder": (60.0, 0.15),
    "lm": (110.0, 0.15),
    "forecast": (15.0, 0.1),
}
FORECAST_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    work: Path
    out: Path
    hours: dict[str, float]
    codec_minutes: float
    duration_minutes: float
    vocoder_minutes: float
    lm_minutes: float
    forecast_minutes: float
    threads: int
    smoke: bool
    data: Manifest | None = None  # the user's own recordings

    @property
    def voices(self) -> list[str]:
        return list(self.hours)

    @property
    def shares(self) -> str:
        total = sum(self.hours.values())
        return ",".join(f"{voice}:{hours / total:.3f}" for voice, hours in self.hours.items())

    @property
    def speech(self) -> Path:
        return FIXTURE if self.smoke and self.data is None else self.work / "speech"
