"""The engine's settings and what it accepts of a request. Values only; nothing here runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from engines.bundle import Bundle, Voice
from engines.errors import BadParameter, ConfigError
from engines.families.phone_pointer.overlap_add import check_rate
from engines.families.phone_pointer.voice_mix import weights
from engines.messages import Submit

MIN_SPEED, MAX_SPEED = 0.75, 1.33  # what the shipped LM has heard
MAX_TEMPERATURE = 2.0
MAX_PITCH_SEMITONES = 12.0  # either way; the vocoder's source reaches an octave beyond what it has learnt
MAX_DRAFT_TOLERANCE = 3


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
    own_kernels: str = "auto"  # the form of our kernels; auto: the quickest that runs here; off: the runtime's
    vocoder_job_codes: int = 32  # rows x codes of one vocoder job: above it a code costs half as much again (caches)
    max_ttfa_s: float = 0.25  # predicted; who would wait longer is refused
    sheds: bool = True  # refuse who cannot be served in time; without it only slots are counted
    max_expanded: int = 4096  # characters spoken for dictionaries' entries in one utterance
    text_chars: int = 256  # text read per step, so that nobody waits long for it (some 5 us a character)
    drafts: DraftMode = DraftMode.AUTO
    draft_rows: int = 2  # drafting is thought of while at most so many rows are to step
    draft_tolerance: int = 0  # levels by which a guess that stands may miss the pick; above 0 drafts change the audio
    workers: bool = True  # vocode on a thread of its own

    def __post_init__(self) -> None:
        for name in (
            "slots",
            "max_batch",
            "lm_threads",
            "vocoder_threads",
            "vocoder_job_codes",
            "text_chars",
            "max_expanded",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.max_ttfa_s > 0:
            raise ConfigError(f"max_ttfa_s must be above 0, got {self.max_ttfa_s}")
        if not 0 <= self.draft_tolerance <= MAX_DRAFT_TOLERANCE:
            raise ConfigError(f"draft_tolerance must be 0 (exact) to {MAX_DRAFT_TOLERANCE}, got {self.draft_tolerance}")
        if self.draft_tolerance and self.drafts is DraftMode.OFF:
            raise ConfigError(f"draft_tolerance {self.draft_tolerance} has no meaning with drafts off")


def check_draft_tolerance(tolerance: int, bundle: Bundle) -> None:
    """Raises where the bundle cannot do what is asked, so that nobody believes in a mode that does not run."""
    if tolerance == 0:
        return
    if bundle.drafts is None:
        raise ConfigError(f"draft_tolerance {tolerance} needs drafts, the bundle {bundle.name!r} brings none")
    if tolerance >= max(bundle.codes.levels) - 1:
        levels = ", ".join(map(str, bundle.codes.levels))
        raise ConfigError(f"draft_tolerance {tolerance} lets any guess stand: the codes' digits have {levels} levels")


def check_submit(submit: Submit, bundle: Bundle) -> Voice:
    """The voice asked for; raises a RequestError that names the value and what is right."""
    check_rate(bundle, submit.sample_rate_hz)
    if not MIN_SPEED <= submit.speed <= MAX_SPEED:
        raise BadParameter(f"speed {submit.speed} is out of range {MIN_SPEED} to {MAX_SPEED}")
    if submit.temperature is not None and not 0 <= submit.temperature <= MAX_TEMPERATURE:
        raise BadParameter(f"temperature {submit.temperature} is out of range 0 to {MAX_TEMPERATURE}")
    if submit.max_lead_s is not None and not submit.max_lead_s > 0:
        raise BadParameter(f"max_lead_s {submit.max_lead_s} must be above 0, or absent for no cap")
    if not -MAX_PITCH_SEMITONES <= submit.pitch_semitones <= MAX_PITCH_SEMITONES:
        most = f"{MAX_PITCH_SEMITONES:g}"
        raise BadParameter(f"pitch_semitones {submit.pitch_semitones} is out of range -{most} to {most}")
    weights(bundle, submit.voice, submit.timbre)
    return bundle.voice(submit.voice)
