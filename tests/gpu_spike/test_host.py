"""The bookkeeping that is timed does what a scheduler must, and the encoders encode."""

from __future__ import annotations

import numpy as np

from loadtests.gpu.host import END_ID, Bookkeeper, mu_law_table, to_int16


def test_every_row_steps_and_chunks_hold_every_frame_once() -> None:
    bookkeeper = Bookkeeper(8)
    codes = np.zeros((8, 16), np.int64)
    seen: dict[str, list[int]] = {row.request_id: [] for row in bookkeeper.rows}
    for _ in range(50):
        for chunk in bookkeeper.step(codes):
            seen[chunk.request_id] += range(chunk.first_frame, chunk.first_frame + chunk.num_frames)
    assert bookkeeper.counts["frames"] == 8 * 50
    for row in bookkeeper.rows:
        assert seen[row.request_id] == list(range(row.frames - len(row.codes)))


def test_least_lead_goes_first_and_a_long_lead_pauses() -> None:
    bookkeeper = Bookkeeper(3)
    for row, dry_at_s in zip(bookkeeper.rows, (0.9, 0.1, 9.0)):
        row.dry_at_s = dry_at_s
    assert [row.slot for row in bookkeeper.plan(0.0)] == [1, 0]
    assert bookkeeper.slots[:2].tolist() == [1, 0]


def test_an_end_closes_its_chunk_and_starts_anew() -> None:
    bookkeeper = Bookkeeper(2)
    codes = np.zeros((2, 16), np.int64)
    bookkeeper.step(codes)
    codes[:, 0] = END_ID
    events = bookkeeper.step(codes)
    assert [(event.is_last, event.num_frames) for event in events] == [(True, 1)] * 2
    assert [row.frames for row in bookkeeper.rows] == [0, 0]


def test_encoders() -> None:
    assert to_int16(np.array([-1.2, 0.0, 0.5, 1.2], np.float32)).tolist() == [-32767, 0, 16383, 32767]
    law = mu_law_table()
    values = np.array([0, -1, 32767, -32768], np.int16).view(np.uint16)
    assert law[values].tolist() == [0xFF, 0x7F, 0x80, 0x00]
