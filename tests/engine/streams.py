"""Streams as a plan sees them, and a view of them, made of plain numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engines.config import EngineConfig
from engines.families.common.slot_calls import groups
from engines.scheduling.device_profile import Curve, DeviceProfile
from engines.scheduling.policy import NO_AUDIO, View

FRAME_S = 0.04


@dataclass(eq=False)
class PlainStream:
    slot: int
    lead_s: float = 1.0  # at the speech model and at the vocoder; NO_AUDIO: it has not sounded
    arrived_s: float = 0.0
    made: int = 0
    vocoded: int = 0
    quiet_frames: int = 0
    stands_back: bool = False
    can_prefill: bool = False
    can_step: bool = True
    can_vocode: bool = True
    in_vocoder: bool = False
    closes: bool = False
    expects_words_s: float = 0.0
    resumes: bool = False  # after its text had run out

    @property
    def sounds(self) -> bool:
        return self.lead_s != NO_AUDIO

    @property
    def pending(self) -> int:
        return self.made - self.vocoded

    @property
    def available(self) -> int:
        return self.pending

    def begins(self, now: float) -> bool:
        return not self.sounds or self.resumes

    def plays_for_s(self, now: float) -> float:
        return max(0.0, self.lead_s)

    def spare_s(self, now: float, frames: int) -> float:
        return float("inf") if self.stands_back else self.lead_s

    def words_expected_s(self, now: float) -> float:
        return self.expects_words_s


@dataclass
class Machine:
    """Seconds of a call: base, and each row or frame."""

    step_s: tuple[float, float] = (0.3e-3, 0.1e-3)
    job_s: tuple[float, float] = (0.3e-3, 0.1e-3)
    profile: DeviceProfile = field(init=False)

    def __post_init__(self) -> None:
        steps, jobs = Curve(), Curve()
        for curve, (base_s, each_s) in ((steps, self.step_s), (jobs, self.job_s)):
            for size in (1, 64):
                curve.add(size, base_s + each_s * size)
        self.profile = DeviceProfile(frame_s=FRAME_S, cores=1, overlaps=False, steps=steps, jobs=jobs, loop_row_s=0.0)


def view(*streams: PlainStream, machine: Machine | None = None, **changes: Any) -> View:
    values: dict[str, Any] = {
        "streams": streams,
        "profile": (machine or Machine()).profile,
        "chunk_frames": (1, 2, 4, 8),
        "first_chunk": 2,
        "groups": groups,
    }
    sizes = {name: changes.pop(name) for name in ("max_batch", "job_frames", "verify_rows") if name in changes}
    return View(**values | changes, config=EngineConfig(**sizes))
