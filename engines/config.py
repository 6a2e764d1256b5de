"""The engine's settings. Values only; nothing here runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engines.errors import ConfigError

MAX_DRAFT_TOLERANCE = 3


class DeviceChoice(Enum):
    AUTO = "auto"  # a GPU whose form of the bundle is at hand and passes its self-test, else the CPU
    CPU = "cpu"
    CUDA = "cuda"  # the same as auto, and where it cannot be, the reason is told


class DraftMode(Enum):
    AUTO = "auto"  # while measured to pay
    ON = "on"  # always, up to `draft_rows`
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    slots: int = 128
    max_batch: int = 64  # rows of one LM call; more of them cost no less each
    lm_threads: int = 1
    vocoder_threads: int = 1
    device: DeviceChoice = DeviceChoice.AUTO
    gpu_form: Path | None = None  # folder that `python -m models.gpu_graphs` wrote
    deterministic: bool = False  # on a GPU: every call has one shape, so that a seed's audio is the same bit for bit
    voices: Path | None = None  # folder of added voices; None: the bundle's own
    own_kernels: str = "auto"  # the form of our kernels; auto: the quickest that runs here; off: the runtime's
    job_frames: int = 32  # rows x frames of one vocoder job: above it a frame costs half as much again (caches)
    prefill_positions: int = 256  # of all prompts in one call: no step waits longer than for so many
    max_ttfa_s: float = 0.25  # requests with a predicted TTFA above this are rejected
    sheds: bool = True  # reject requests that cannot be served in time; without it only slots are counted
    max_expanded: int = 4096  # characters spoken for dictionaries' entries in one utterance
    text_chars: int = 256  # text read in a round, so that no step waits long for it (some 5 us a character)
    drafts: DraftMode = DraftMode.AUTO
    draft_rows: int = 2  # drafts are tried while at most so many rows are to step
    verify_rows: int = 1  # that one call verifies; a device takes all slots at once, a processor one by one
    draft_tolerance: int = 0  # levels by which a draft may miss the sampled code; above 0 drafts change the audio
    workers: bool = True  # vocode on a thread of its own

    def __post_init__(self) -> None:
        sizes = "slots max_batch prefill_positions verify_rows job_frames text_chars max_expanded"
        for name in (*sizes.split(), "lm_threads", "vocoder_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.max_ttfa_s > 0:
            raise ConfigError(f"max_ttfa_s must be above 0, got {self.max_ttfa_s}")
        if not 0 <= self.draft_tolerance <= MAX_DRAFT_TOLERANCE:
            raise ConfigError(f"draft_tolerance must be 0 (exact) to {MAX_DRAFT_TOLERANCE}, got {self.draft_tolerance}")
        if self.draft_tolerance and self.drafts is DraftMode.OFF:
            raise ConfigError(f"draft_tolerance {self.draft_tolerance} has no meaning with drafts off")
