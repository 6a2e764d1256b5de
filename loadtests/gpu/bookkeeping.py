"""The bookkeeping of a step, honest and in plain Python: what part 5 times, without any device.

A small true scheduler: it takes arriving text, orders rows by the moment their listener runs dry, fills the arrays of a
step, commits codes, notices ends and deadlines, forms chunks and emits frozen events.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CODEBOOKS = 16
FRAME_S = 0.08
LEAD_CAP_S = 2.0
FRAMES_PER_UTTERANCE = 400
END_ID, TEXT_PAD_ID = 2150, 151671
LADDER = (1, 2, 4, 8)
OUTBOX_CHUNKS = 32


@dataclass(slots=True)
class Row:
    request_id: str
    slot: int
    seed: int
    dry_at_s: float
    deadline_s: float = 1e9
    text: deque[int] = field(default_factory=deque)  # tokens that came and were not spoken yet
    position: int = 40
    frames: int = 0
    rung: int = 0
    codes: list[list[int]] = field(default_factory=list)
    outbox: deque[Chunk] = field(default_factory=lambda: deque(maxlen=OUTBOX_CHUNKS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    request_id: str
    first_frame: int
    num_frames: int
    is_last: bool


class Bookkeeper:
    """Feed, plan, commit, emit for a batch of rows; every row speaks on, so that the batch keeps its size.

    `is_staggered`: rows are at different places of their utterances and chunks, as after some minutes of service.
    """

    def __init__(self, count: int, is_staggered: bool = False) -> None:
        self.rows = [
            Row(f"request-{index}", index, 7919 * index, dry_at_s=LEAD_CAP_S * (index * 7 % count) / (2 * count))
            for index in range(count)
        ]
        self.positions = np.zeros(count, np.int64)
        self.slots = np.zeros(count, np.int64)
        self.turns = np.zeros(count, np.int64)
        self.texts = np.zeros(count, np.int64)
        self.by_id = {row.request_id: row for row in self.rows}
        self.now_s = 0.0
        self.counts = {"frames": 0, "chunks": 0, "ends": 0}
        if is_staggered:
            for index, row in enumerate(self.rows):
                row.frames, row.rung = 16 + 37 * index % (FRAMES_PER_UTTERANCE - 16), len(LADDER) - 1
                row.codes = [[0] * CODEBOOKS] * (index % LADDER[-1])

    def feed(self, inbox: list[tuple[str, list[int]]]) -> None:
        for request_id, tokens in inbox:
            self.by_id[request_id].text.extend(tokens)

    def plan(self, now_s: float) -> list[Row]:
        """Least lead first; a row pauses while its lead is long or its outbox full."""
        ready = [
            row
            for row in self.rows
            if row.dry_at_s - now_s < LEAD_CAP_S and len(row.outbox) < OUTBOX_CHUNKS and now_s < row.deadline_s
        ]
        ready.sort(key=lambda row: row.dry_at_s)
        for index, row in enumerate(ready):
            self.positions[index] = row.position
            self.slots[index] = row.slot
            self.turns[index] = row.seed + row.frames
            self.texts[index] = row.text.popleft() if row.text else TEXT_PAD_ID
        return ready

    def commit(self, ready: list[Row], codes: NDArray[np.int64], now_s: float) -> list[Chunk]:
        """codes [B, Q], in the order of `ready`."""
        events = []
        for row, frame in zip(ready, codes.tolist()):
            row.position += 1
            row.frames += 1
            row.codes.append(frame)
            row.dry_at_s = max(row.dry_at_s, now_s) + FRAME_S
            is_last = frame[0] == END_ID or row.frames >= FRAMES_PER_UTTERANCE
            if is_last or len(row.codes) >= LADDER[row.rung]:
                chunk = Chunk(
                    request_id=row.request_id,
                    first_frame=row.frames - len(row.codes),
                    num_frames=len(row.codes),
                    is_last=is_last,
                )
                row.outbox.append(chunk)
                events.append(chunk)
                row.codes.clear()
                row.rung = min(row.rung + 1, len(LADDER) - 1)
                self.counts["chunks"] += 1
            if is_last:
                row.position, row.frames, row.rung = 40, 0, 0
                self.counts["ends"] += 1
        self.counts["frames"] += len(ready)
        return events

    def step(self, codes: NDArray[np.int64]) -> list[Chunk]:
        """One frame later on the listeners' clock, so that every row keeps its lead and the batch its size."""
        self.now_s += FRAME_S
        turn = round(self.now_s / FRAME_S)
        self.feed([(row.request_id, [turn]) for row in self.rows[turn % 4 :: 4]])  # a token for one row in four
        events = self.commit(self.plan(self.now_s), codes, self.now_s)
        for event in events:
            self.by_id[event.request_id].outbox.popleft()
        return events
