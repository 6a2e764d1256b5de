"""What one stream left behind: stamps and byte counts, nothing judged yet. Times are seconds since the level began.

Written while the level runs, so it is cheap to write: growing arrays, a running checksum (2 us a message), and the
first half second of samples, from which the first audible window is found when the stream is over (30 us).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

RATE_HZ = 24_000
HEAD_S = 0.5
WINDOW_SAMPLES = 240  # 10 ms
AUDIBLE_DBFS = -45.0
_HEAD_BYTES = int(HEAD_S * RATE_HZ) * 2


class End(StrEnum):
    DONE = "done"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the server spoken that it has no room
    FAILED = "failed"


@dataclass(slots=True)
class Recording:
    index: int
    opened_s: float
    connected_s: float | None = None
    text_at_s: array[float] = field(default_factory=lambda: array("d"))
    all_text_s: float | None = None  # the end of the text was sent
    cancel_s: float | None = None
    chunk_at_s: array[float] = field(default_factory=lambda: array("d"))
    chunk_bytes: array[int] = field(default_factory=lambda: array("l"))
    waiting: list[tuple[int, float]] = field(default_factory=list)  # (chunks that had come, when)
    checksum: int = 0  # crc32 of all samples
    head: bytearray = field(default_factory=bytearray)
    audible_sample: int | None = None  # first sample of the first audible window
    told_audio_ms: float | None = None
    ended_s: float | None = None
    end: End = End.FAILED
    detail: str = ""

    def keep_head(self, pcm: bytes | bytearray | memoryview) -> None:
        missing = _HEAD_BYTES - len(self.head)
        if missing > 0:
            self.head += pcm[:missing]

    def finish(self, now_s: float, end: End, detail: str = "") -> None:
        self.ended_s, self.end, self.detail = now_s, end, detail
        self.audible_sample = first_audible_sample(bytes(self.head))
        self.head.clear()

    @property
    def audio_bytes(self) -> int:
        return sum(self.chunk_bytes)


def first_audible_sample(pcm: bytes, window: int = WINDOW_SAMPLES) -> int | None:
    """Where the first window of at least -45 dBFS RMS begins in s16le samples; None if there is none."""
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32)
    windows = samples[: len(samples) // window * window].reshape(-1, window)
    power = np.square(windows / 32768).mean(axis=1)
    loud = np.flatnonzero(power >= 10 ** (AUDIBLE_DBFS / 10))
    return int(loud[0]) * window if len(loud) else None
