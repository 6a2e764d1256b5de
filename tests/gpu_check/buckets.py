"""Part 4: every bucket of the shipped voice: a replay alone and in a row, the host's share of it, and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from engines.families.common.device_calls import buckets
from engines.families.phone_pointer.device_buffers import LmBuffers, VocoderBuffers
from engines.runtime.base import Call
from engines.runtime.onnx_cuda import OnnxCuda
from tests.dry_cuda.voice import BUNDLE, form
from tests.gpu_check.report import Cell, Table
from tests.gpu_check.setting import PRETENDED, Setting

SLOTS = 4 if PRETENDED else 512
CODES = (8, 4, 2, 1)
ALONE, IN_A_ROW = (3, 3) if PRETENDED else (50, 200)


def run_buckets(setting: Setting, table: Table) -> None:
    device, made = setting.timed_device(), form()
    backend, before = OnnxCuda(device), device.facts().free_bytes
    decode, *verify = backend.graphs(made.graph("decode"), *(made.graph(f"verify-{n}") for n in made.verify_steps))
    lm = LmBuffers(BUNDLE, made, backend, SLOTS)
    table.note(f"LM: {_used(device.facts().free_bytes, before)} MB for weights and {SLOTS} slots")
    for rows in buckets(SLOTS):
        _measure(setting, table, backend, f"decode {rows}", lambda rows=rows: decode.bind(lm.decode(rows)))
    for steps, graph in zip(made.verify_steps, verify, strict=True):
        for rows in buckets(SLOTS):
            bind = lambda rows=rows, steps=steps, graph=graph: graph.bind(lm.verify(rows, steps))  # noqa: E731
            _measure(setting, table, backend, f"verify {steps} steps {rows}", bind)
    before = device.facts().free_bytes
    (graph,) = backend.graphs(made.graph("vocoder"))
    sound = VocoderBuffers(BUNDLE, made, backend, slots=SLOTS, rows=SLOTS, sizes=CODES)
    sound.values["slots"].write(np.arange(SLOTS))
    sound.values["pitch"].write(np.ones(SLOTS, np.float32))
    table.note(f"vocoder: {_used(device.facts().free_bytes, before)} MB for weights and {SLOTS} slots")
    for codes in CODES:
        for rows in buckets(SLOTS):
            bind = lambda rows=rows, codes=codes: graph.bind(sound.job(rows, codes))  # noqa: E731
            _measure(setting, table, backend, f"vocoder {codes} codes {rows}", bind)


def _measure(setting: Setting, table: Table, backend: OnnxCuda, name: str, bind: Callable[[], Call]) -> None:
    if not setting.has_time(1.0):
        return
    before, started = setting.device.facts().free_bytes, time.perf_counter()
    call = bind()
    backend.prepare(call)
    captured_s = time.perf_counter() - started
    graph, rows = name.rsplit(" ", 1)
    table.row(graph=graph, rows=int(rows), **replay_times(call), capture_s=captured_s,
              capture_mb=_used(setting.device.facts().free_bytes, before))  # fmt: skip


def replay_times(call: Call) -> dict[str, Cell]:
    """`ms`: launch to wait, alone. `in_a_row_ms`: of many without a wait between. `host_us`: until a launch returns."""
    alone, host = [], []
    for _ in range(ALONE):
        started = time.perf_counter()
        call.launch()
        host.append(time.perf_counter() - started)
        call.wait()
        alone.append(time.perf_counter() - started)
    started = time.perf_counter()
    for _ in range(IN_A_ROW):
        call.launch()
    call.wait()
    in_a_row = (time.perf_counter() - started) / IN_A_ROW
    return {
        "ms": 1e3 * statistics.median(alone),
        "worst_ms": 1e3 * max(alone),
        "in_a_row_ms": 1e3 * in_a_row,
        "host_us": 1e6 * statistics.median(host),
    }


def _used(now: int, before: int) -> float:
    return round((before - now) / 1e6, 1)
