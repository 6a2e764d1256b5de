"""All that crosses the wall between the server and the engine.

Commands go in, events come out; both are frozen and hold no arrays but raw PCM. Commands can be pickled, events are
of plain types alone. The server makes only commands that are already valid in form; the engine answers every accepted
`Submit` with exactly one of `Finished`, `Cancelled` or `Failed`, and nothing for that request afterwards.

    Submit  Append*  (Flush)  Append*  EndText          or Cancel at any moment
    Started  Chunk*  WaitingForText*  Chunk*  Finished
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

Options = tuple[tuple[str, Any], ...]  # (name, frozen value), sorted by name


class LeadingSilence(StrEnum):
    """What becomes of the quiet before the first audible window."""

    TRIM = "trim"
    KEEP = "keep"


def options(**named: Any) -> Options:
    """What is None or empty is not asked for."""
    return tuple(sorted((name, value) for name, value in named.items() if value is not None and value != ()))


class OfRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    request_id: str


class Submit(OfRequest, frozen=True, kw_only=True):
    """Opens an utterance. Text follows in `Append`."""

    voice: str
    seed: int
    sample_rate_hz: int = 24_000
    leading_silence: LeadingSilence = LeadingSilence.TRIM
    heard_samples: int = 0  # of a resumed utterance: made again, they give its listener no lead
    is_admitted: bool = False  # it ran on an engine that died: it is not shed
    voice_digest: str = ""  # of an added voice: one that ran goes on with no other of that name
    options: Options = ()  # the family's; one that it lacks is refused by name

    def option(self, name: str, default: Any = None) -> Any:
        return next((value for known, value in self.options if known == name), default)

    def asking(self, **named: Any) -> Submit:
        """With these options too, or in place of its own."""
        return replace(self, options=options(**{**dict(self.options), **named}))


class Append(OfRequest, frozen=True, kw_only=True):
    text: str


class Flush(OfRequest, frozen=True, kw_only=True):
    """Speak what is there without waiting for more; the utterance stays open."""


class EndText(OfRequest, frozen=True, kw_only=True):
    """No more text comes: speak the rest and finish."""


class Cancel(OfRequest, frozen=True, kw_only=True):
    pass


class SetPaused(OfRequest, frozen=True, kw_only=True):
    """The listener is slow and its outbox full (or has drained again): pause or resume generation for it."""

    paused: bool


class StandBack(OfRequest, frozen=True, kw_only=True):
    """Its listener may have turned to something else: it is spoken on with what all others leave."""


class SetVoice(msgspec.Struct, frozen=True, kw_only=True):
    """Of no request: a voice was added, or changed, or is no more (None). Utterances that speak with it go on."""

    voice: str
    content: bytes | None  # of its file, checked already


Command = Submit | Append | Flush | EndText | Cancel | SetPaused | StandBack | SetVoice


class Started(OfRequest, frozen=True, kw_only=True):
    """The sequence holds a slot and its first LM step is about to run."""


class WordTime(msgspec.Struct, frozen=True, kw_only=True):
    """A source token of the input, [start, end) in characters, and when it is spoken, from the first sample sent."""

    start_char: int
    end_char: int
    start_s: float
    end_s: float


class Chunk(OfRequest, frozen=True, kw_only=True):
    """The next samples of an utterance: s16le mono at the requested rate."""

    pcm: bytes
    first_sample: int
    words: tuple[WordTime, ...] = ()  # words that ended within the codes of this chunk


class WaitingForText(OfRequest, frozen=True, kw_only=True):
    """All speakable text so far is spoken and the text is not at its end: silence from here is not an underrun."""

    spoken_samples: int
    heard: int  # appends and flushes so far: more may have been sent meanwhile


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds since `Submit` reached the engine, and counts."""

    first_text_s: float
    started_s: float
    first_chunk_s: float
    finished_s: float
    audio_s: float
    lm_steps: int
    segments: int
    guards: tuple[str, ...] = ()  # names of guards that fired


class Finished(OfRequest, frozen=True, kw_only=True):
    samples: int
    timings: Timings
    warnings: tuple[str, ...] = ()  # what of the text was left out, or not done as its tags ask


class Cancelled(OfRequest, frozen=True, kw_only=True):
    samples: int  # generated and emitted before the cancel took effect


class Failed(OfRequest, frozen=True, kw_only=True):
    code: str  # of engines.errors
    message: str
    retry_after_s: float | None = None


@dataclass(slots=True)
class Tally:
    """How often a value fell at or below each of some bounds; the last count is of those above all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class EngineStats(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Gauges and counters, sent when asked for by the client's clock (about once a second)."""

    running: int
    waiting: int
    slots: int
    lm_steps: int
    lm_busy_s: float
    vocoder_busy_s: float
    capacity: int  # streams that can be kept at real time, all of them speaking
    streams_left: int  # how many more are admitted now
    predicted_ttfa_s: float  # of one more
    kernels: str = "ours"  # and their form, or which are not, and why
    arithmetic: str = ""  # all that decides last bits besides the bundle
    device: str = "cpu"  # that the speech model runs on
    lone_rtf: float = 0.0  # seconds that one stream alone takes for a second of its audio; 0: not measured
    vocoder_job_s: float = 0.0  # since the job in flight began; 0 without one
    counters: dict[str, int] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)


Event = Started | Chunk | WaitingForText | Finished | Cancelled | Failed | EngineStats
