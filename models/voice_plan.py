"""What `models.make_voice` is to make: of which speech, with how much training, in which folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.recordings.manifest import Manifest

FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "voice" / "fixture"
BUDGETS = {  # CPU minutes: of a voice, of a smoke run; the forecast's are of all its rounds
    "codec": (110.0, 0.25),
    "duration": (40.0, 0.1),
    "vocoder": (60.0, 0.15),
    "lm": (110.0, 0.15),
    "forecast": (15.0, 0.1),
}
STEPS = {  # likewise, of the Kokoro voice: what the one that ships had, a little rounded up
    "codec": (15_000, 2),
    "listener": (4_000, 2),
    "duration": (18_000, 20),
    "vocoder": (7_500, 2),
    "lm": (6_000, 3),
    "forecast": (8_000, 10),
}
FORECAST_ROUNDS = 5
HOURS = {"flite": "rms:8,slt:4.5,awb:4.5,kal16:2.5", "kokoro": "af_heart:3,am_michael:2"}
KOKORO_FIXTURE = FIXTURE / "kokoro"
NATURAL_WORK = Path("work", "natural-voice")


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
    teacher: str = "flite"
    steps: dict[str, int] | None = None  # of each part, instead of its minutes
    spoken: Path | None = None  # Kokoro's speech in blocks, which several plans may share
    disk_gb: float = 4.0  # of that folder at most
    data: Manifest | None = None  # the user's own recordings

    @property
    def voices(self) -> list[str]:
        return list(self.hours)

    @property
    def forecast_rounds(self) -> int:
        return 1 if self.smoke else FORECAST_ROUNDS

    @property
    def shares(self) -> str:
        total = sum(self.hours.values())
        return ",".join(f"{voice}:{hours / total:.3f}" for voice, hours in self.hours.items())

    @property
    def speech(self) -> Path:
        fixture = self.smoke and self.data is None and self.teacher == "flite"
        return FIXTURE if fixture else self.work / "speech"
