"""One stream, judged. A result cannot be made with an impossible order of times: a harness that stamps wrongly must not
publish.

    scheduled ~ sent <= first byte <= first playable <= audible window here <= last byte,  first playable <= audible
    opened <= connected <= sent <= last text <= ended,  first byte <= last byte <= ended,  sent <= cancel <= ended
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from loadtests.arrivals import Planned
from loadtests.playback import Playback, play
from loadtests.recording import RATE_HZ, WINDOW_SAMPLES, End, Recording

JITTER_MS = (0, 100)
_EARLY_S = 0.002  # timers may be a little early, then latencies count from the send
_ORDERS = (
    ("opened_s", "connected_s", "sent_s", "first_byte_s", "first_playable_s", "audible_s"),
    ("first_playable_s", "audible_arrived_s", "last_byte_s"),
    ("sent_s", "last_text_s", "ended_s"),
    ("first_playable_s", "last_byte_s", "ended_s"),
    ("sent_s", "cancel_s", "ended_s"),
)


class ImpossibleTimes(ValueError):
    """Stamps that contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a listener with one jitter buffer went through."""

    underruns: int
    stalled_s: float
    largest_stall_s: float
    starvations: int
    starved_s: float
    resume_s: float | None  # longest silence of a starved listener after the last text before it ended
    played_out_s: float

    def __post_init__(self) -> None:
        if self.largest_stall_s > self.stalled_s + 1e-9 or (self.underruns == 0) != (self.stalled_s == 0.0):
            raise ImpossibleTimes(f"stalls do not add up: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """Times are seconds since the level began."""

    index: int
    kind: str
    feeding: str
    end: End
    detail: str = ""
    scheduled_s: float
    opened_s: float
    connected_s: float | None = None
    sent_s: float | None = None
    last_text_s: float | None = None
    first_byte_s: float | None = None
    first_playable_s: float | None = None
    audible_arrived_s: float | None = None  # the whole first audible window is here
    audible_s: float | None = None  # a listener without jitter buffer begins to hear it
    last_byte_s: float | None = None
    cancel_s: float | None = None
    ended_s: float
    samples: int = 0
    leading_silence_s: float | None = None
    heard: tuple[Heard, ...] = ()  # one for each of JITTER_MS

    def __post_init__(self) -> None:
        for names in _ORDERS:
            known = [(name, getattr(self, name)) for name in names if getattr(self, name) is not None]
            for (before, before_s), (after, after_s) in pairwise(known):
                if not before_s <= after_s:
                    raise ImpossibleTimes(f"stream {self.index}: {before} {before_s} is after {after} {after_s}")
        for before, after in (("connected_s", "sent_s"), ("sent_s", "first_byte_s"), ("first_byte_s", "audible_s")):
            if getattr(self, after) is not None and getattr(self, before) is None:
                raise ImpossibleTimes(f"stream {self.index}: {after} without {before}")
        times = (self.scheduled_s, self.opened_s, self.ended_s)
        if not all(math.isfinite(one) for one in times):
            raise ImpossibleTimes(f"stream {self.index}: times must be finite, got {times}")
        if self.sent_s is not None and self.sent_s < self.scheduled_s - _EARLY_S:
            raise ImpossibleTimes(f"stream {self.index} was sent {self.scheduled_s - self.sent_s} s before its time")
        if self.end is End.DONE and (self.last_byte_s is None or not self.heard):
            raise ImpossibleTimes(f"stream {self.index} is done and has no audio")
        for heard in self.heard:
            if self.last_byte_s is not None and heard.played_out_s < self.last_byte_s:
                raise ImpossibleTimes(f"stream {self.index} was heard out before its last byte")

    # -- latencies, all from the schedule ----------------------------------------------------------------------------

    @property
    def origin_s(self) -> float:
        """The scheduled send; the send itself where a timer was early."""
        return self.scheduled_s if self.sent_s is None else min(self.scheduled_s, self.sent_s)

    def since_origin_s(self, name: str) -> float | None:
        at_s: float | None = getattr(self, name)
        return None if at_s is None else at_s - self.origin_s

    @property
    def refused_after_s(self) -> float | None:
        """How long a refusal took: since the text was due, or since the connection where nothing was sent."""
        if self.end is not End.REFUSED:
            return None
        return self.ended_s - (self.opened_s if self.sent_s is None else self.origin_s)

    @property
    def audio_s(self) -> float:
        return self.samples / RATE_HZ

    @property
    def latencies_s(self) -> dict[str, float | None]:
        """Everything that gets percentiles."""
        done = self.end is End.DONE
        return {
            "setup": None if self.connected_s is None else self.connected_s - self.opened_s,
            "ttfb": self.since_origin_s("first_byte_s"),
            "first_playable": self.since_origin_s("first_playable_s"),
            "audible_ttfa": self.since_origin_s("audible_s"),
            "audible_arrived": self.since_origin_s("audible_arrived_s"),
            "leading_silence": self.leading_silence_s,
            "e2e": self.since_origin_s("ended_s") if done else None,
            "last_text_to_audible": _between(self.last_text_s, self.audible_s),
            "last_text_to_end": _between(self.last_text_s, self.ended_s) if done else None,
            "resume": self.heard[0].resume_s if self.heard else None,
        }

    @property
    def rtf(self) -> float | None:
        """Wall seconds from the send to the last byte, for each second of audio. Only texts sent whole have one."""
        if self.feeding != "whole" or self.end is not End.DONE or self.sent_s is None or self.last_byte_s is None:
            return None
        return (self.last_byte_s - self.sent_s) / self.audio_s

    def row(self) -> dict[str, Any]:
        """For the JSONL file."""
        latencies = {f"{name}_latency_s": value for name, value in self.latencies_s.items()}
        return asdict(self) | latencies | {"rtf": self.rtf}


def _between(from_s: float | None, to_s: float | None) -> float | None:
    return None if from_s is None or to_s is None else to_s - from_s


def judge(planned: Planned, recording: Recording, expected: Mapping[str, tuple[int, int]]) -> StreamResult:
    """Turns stamps into a result. `expected`: samples and checksum of each text as first spoken; may be empty."""
    assert recording.ended_s is not None, "only streams that are over can be judged"
    chunks = chunks_of(recording)
    plays = tuple(_play(recording, chunks, jitter_ms / 1000) for jitter_ms in JITTER_MS) if chunks else ()
    samples = recording.audio_bytes // 2
    end, detail = recording.end, recording.detail
    if end is End.DONE:
        fault = _fault(recording, samples, expected.get(planned.text.text))
        end, detail = (End.FAILED, fault) if fault else (end, detail)
    audible = recording.audible_sample if plays else None
    return StreamResult(
        index=planned.index,
        kind=planned.text.kind,
        feeding=planned.feeding,
        end=end,
        detail=detail,
        scheduled_s=planned.at_s,
        opened_s=recording.opened_s,
        connected_s=recording.connected_s,
        sent_s=recording.text_at_s[0] if recording.text_at_s else None,
        last_text_s=recording.all_text_s,
        first_byte_s=recording.chunk_at_s[0] if chunks else None,
        first_playable_s=chunks[0][0] if chunks else None,
        audible_arrived_s=None if audible is None else _received_s(chunks, audible + WINDOW_SAMPLES - 1),
        audible_s=None if audible is None else plays[0].heard_s(audible),
        last_byte_s=chunks[-1][0] if chunks else None,
        cancel_s=recording.cancel_s,
        ended_s=recording.ended_s,
        samples=samples,
        leading_silence_s=None if audible is None else audible / RATE_HZ,
        heard=tuple(_heard(one) for one in plays),
    )


def chunks_of(recording: Recording) -> list[tuple[float, int]]:
    """(arrival, samples): whole samples only; half of one counts with the next bytes."""
    chunks, received, counted = list[tuple[float, int]](), 0, 0
    for at_s, size in zip(recording.chunk_at_s, recording.chunk_bytes, strict=True):
        received += size
        whole = received // 2 - counted
        counted += whole
        if whole or chunks:
            chunks.append((at_s, whole))
    return chunks


def _play(recording: Recording, chunks: list[tuple[float, int]], jitter_s: float) -> Playback:
    return play(
        chunks,
        RATE_HZ,
        jitter_s=jitter_s,
        waiting=recording.waiting,
        text_sent_s=recording.text_at_s,
        all_text_sent_s=recording.all_text_s,
    )


def _heard(playback: Playback) -> Heard:
    return Heard(
        underruns=playback.underruns,
        stalled_s=playback.stalled_s,
        largest_stall_s=playback.largest_stall_s,
        starvations=playback.starvations,
        starved_s=playback.starved_s,
        resume_s=playback.resume_s,
        played_out_s=playback.ended_s,
    )


def _received_s(chunks: list[tuple[float, int]], sample: int) -> float:
    """When a sample arrived."""
    received = 0
    for at_s, count in chunks:
        received += count
        if received > sample:
            return at_s
    raise ImpossibleTimes(f"sample {sample} never arrived")


def _fault(recording: Recording, samples: int, expected: tuple[int, int] | None) -> str:
    """Why a stream that says it is done is not complete."""
    told_ms = recording.told_audio_ms or 0.0
    if recording.all_text_s is None:
        return "done before all text was sent"
    if not samples or abs(samples * 1000 / RATE_HZ - told_ms) > 1:
        return f"got {samples} samples, the server says {told_ms} ms"
    if recording.audible_sample is None:
        return "no audible window in the first half second"
    if expected is not None and expected != (samples, recording.checksum):
        return f"{DIFFERENT}: {samples} samples, alone it has {expected[0]}"
    return ""


DIFFERENT = "not the bytes that the same text and seed gave alone"
