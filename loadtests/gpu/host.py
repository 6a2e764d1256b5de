"""Part 5: what the host does beside a GPU, in plain Python: bookkeeping per step, a neighbour, encoders, a pipe."""

from __future__ import annotations

import base64
import gc
import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.gpu.bookkeeping import CODEBOOKS, Bookkeeper, Chunk
from loadtests.gpu.report import Table
from loadtests.gpu.setting import Setting

ROWS = (64, 172, 256)
FRAME_SAMPLES = 1920
DEVICE_S = 0.004  # the pretended wait for a device, in which the interpreter is free
BUSY_SHARE = 0.6  # of the neighbour's time
SLICE_S = 0.001


def run_host(setting: Setting, table: Table) -> None:
    repeats = 40 if setting.is_tiny else 1000
    gc.collect()
    gc.freeze()
    for rows in ROWS:
        codes = np.random.default_rng(0).integers(0, 2048, (rows, CODEBOOKS))
        bookkeeper = Bookkeeper(rows, is_staggered=True)
        _row(table, "bookkeeping of a step", rows, _times(partial(bookkeeper.step, codes), repeats))
    for rows in ROWS:
        _measure_encoders(table, rows, max(repeats // 10, 5))
    for rows in ROWS:
        _measure_pipe(table, rows, max(repeats // 10, 5))
    _measure_neighbours(table, 0.3 if setting.is_tiny else 5.0)


def _measure_encoders(table: Table, rows: int, repeats: int) -> None:
    """One frame of every row, from floats as a device hands them over."""
    samples = np.random.default_rng(1).uniform(-1.2, 1.2, (rows, FRAME_SAMPLES)).astype(np.float32)
    whole = to_int16(samples)
    _row(table, "int16, all rows at once", rows, _times(lambda: to_int16(samples), repeats))
    _row(table, "bytes of each row", rows, _times(lambda: [row.tobytes() for row in whole], repeats))
    _row(table, "base64 in JSON for each row", rows, _times(lambda: [_as_json(row) for row in whole], repeats))
    law = mu_law_table()
    _row(table, "mu-law by table, all rows at once", rows, _times(lambda: law[whole.view(np.uint16)], repeats))


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return (np.clip(samples, -1, 1) * 32767).astype(np.int16)


def mu_law_table() -> NDArray[np.uint8]:
    """G.711 code of every 16-bit sample, addressed by its bits."""
    value = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(value), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(value < 0, 128, 0)
    return (~(sign | (exponent << 4) | mantissa) & 255).astype(np.uint8)


def _as_json(row: NDArray[np.int16]) -> str:
    return json.dumps({"type": "audio", "audio": base64.b64encode(row.tobytes()).decode("ascii")})


def _measure_pipe(table: Table, rows: int, repeats: int) -> None:
    """Samples and events of one step to another process and an answer back: one message for all rows."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_echo, args=(theirs,), daemon=True)
    process.start()
    chunks = [Chunk(request_id=f"request-{row}", first_frame=0, num_frames=1, is_last=False) for row in range(rows)]
    message = (np.zeros((rows, FRAME_SAMPLES), np.int16).tobytes(), chunks)

    def cross() -> None:
        ours.send(message)
        ours.recv()

    cross()
    _row(table, "there and back over a pipe", rows, _times(cross, repeats))
    ours.send(None)
    process.join()


def _echo(connection: Connection) -> None:
    while (message := connection.recv()) is not None:
        connection.send(len(message))


def _measure_neighbours(table: Table, seconds: float) -> None:
    """How late an engine's step ends when something busy runs beside it, in a thread or in a process."""
    rows = 64
    _neighbour_row(table, "alone", rows, _step_times(rows, seconds))
    stop = threading.Event()
    thread = threading.Thread(target=_be_busy, args=(stop,))
    thread.start()
    try:
        beside_thread = _step_times(rows, seconds)
    finally:
        stop.set()
        thread.join()
    _neighbour_row(table, "beside a busy thread", rows, beside_thread)
    context = multiprocessing.get_context("spawn")
    started, ended = context.Event(), context.Event()
    process = context.Process(target=_be_busy, args=(ended, started), daemon=True)
    process.start()
    started.wait()
    try:
        beside_process = _step_times(rows, seconds)
    finally:
        ended.set()
        process.join()
    _neighbour_row(table, "beside a busy process", rows, beside_process)


def _step_times(rows: int, seconds: float) -> list[float]:
    """Microseconds of steps: bookkeeping, then a wait as for a device."""
    bookkeeper = Bookkeeper(rows, is_staggered=True)
    codes = np.random.default_rng(0).integers(0, 2048, (rows, CODEBOOKS))
    device = threading.Event()  # never set: its timeout stands for the device's time
    end_s = time.monotonic() + seconds
    taken = []
    while time.monotonic() < end_s:
        started = time.perf_counter()
        bookkeeper.step(codes)
        device.wait(DEVICE_S)
        taken.append(1e6 * (time.perf_counter() - started))
    return taken


def _be_busy(stop: Any, started: Any = None) -> None:
    """What an edge does: encodes chunks for a share of its time."""
    samples = np.zeros(FRAME_SAMPLES, np.int16)
    if started is not None:
        started.set()
    while not stop.wait(SLICE_S * (1 - BUSY_SHARE)):
        end_s = time.perf_counter() + SLICE_S * BUSY_SHARE
        while time.perf_counter() < end_s:
            _as_json(samples)


def _times(call: Callable[[], object], repeats: int) -> list[float]:
    call()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(1e6 * (time.perf_counter() - started))
    return taken


def _row(table: Table, what: str, rows: int, taken_us: list[float]) -> None:
    median_us = statistics.median(taken_us)
    p99_us = float(np.percentile(taken_us, 99))
    mean_us = statistics.fmean(taken_us)
    table.row(
        what=what, rows=rows, median_us=median_us, mean_us=mean_us, p99_us=p99_us, per_row_us=mean_us / rows
    )  # fmt: skip


def _neighbour_row(table: Table, what: str, rows: int, taken_us: list[float]) -> None:
    """Only these rows hold a wait of 4 ms: they are read against `alone`."""
    table.row(
        what=f"step with a {1e3 * DEVICE_S:.0f} ms wait, {what}", rows=rows, median_us=statistics.median(taken_us),
        mean_us=statistics.fmean(taken_us), p99_us=float(np.percentile(taken_us, 99)),
    )  # fmt: skip
