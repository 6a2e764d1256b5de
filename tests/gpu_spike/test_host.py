"""The bookkeeping that is timed does what a scheduler must, and the encoders encode."""

from __future__ import annotations

import numpy as np

from loadtests.gpu.bookkeeping import END_ID, TEXT_PAD_ID, Bookkeeper
from loadtests.gpu.host import mu_law_table, to_int16


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


def test_staggered_rows_all_step_and_chunk_in_turn() -> None:
    bookkeeper = Bookkeeper(64, is_staggered=True)
    codes = np.zeros((64, 16), np.int64)
    chunks = [len(bookkeeper.step(codes)) for _ in range(40)]
    assert bookkeeper.counts["frames"] == 64 * 40
    assert all(4 <= count <= 20 for count in chunks)  # one row in eight, and rows that begin anew
    assert all(len(row.codes) < 8 for row in bookkeeper.rows)


def test_text_is_spoken_once_in_its_order_then_padded() -> None:
    bookkeeper = Bookkeeper(2)
    bookkeeper.feed([("request-1", [5, 6]), ("request-0", [7])])
    seen: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(3):
        ready = bookkeeper.plan(0.0)
        for index, row in enumerate(ready):
            seen[row.slot].append(int(bookkeeper.texts[index]))
    assert seen == {0: [7, TEXT_PAD_ID, TEXT_PAD_ID], 1: [5, 6, TEXT_PAD_ID]}


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
