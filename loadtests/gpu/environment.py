"""What this machine can do at best: copy rate, matrix product, the price of a launch and of a replayed graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from loadtests.gpu.report import Table
from loadtests.gpu.setting import Setting
from loadtests.gpu.timing import copy_bytes_per_s, measure

CHAIN = 100  # kernels of one element each


def run_ceilings(setting: Setting, table: Table) -> None:
    device = setting.device
    if setting.is_cuda:
        facts = torch.cuda.get_device_properties(0)
        table.row(what="memory", value=facts.total_memory / 2**30, unit="GiB")
        table.row(what="multiprocessors", value=facts.multi_processor_count, unit="")
        table.row(what="CUDA of torch", value=str(torch.version.cuda), unit="")
    table.row(what="copy, read and written", value=copy_bytes_per_s(device) / 1e12, unit="TB/s")
    table.row(what="bf16 matrix product, random data", value=_matmul_flops(setting) / 1e12, unit="TFLOP/s")
    chain = _chain(device)
    launches = measure(chain, device, repeats=30)
    table.row(what="one kernel of one element, launched alone", value=1e3 * launches.median_ms / CHAIN, unit="us")
    if not setting.is_cuda:
        table.note("graph replay, transfers and waits: skipped, they need CUDA")
        return
    _measure_graph(table, chain)
    _measure_transfers(table)


def _matmul_flops(setting: Setting) -> float:
    size = 128 if setting.is_tiny else 8192
    left, right = (torch.randn(size, size, device=setting.device).bfloat16() for _ in range(2))
    timing = measure(lambda: left @ right, setting.device, repeats=10)
    return float(2 * size**3 / (1e-3 * timing.median_ms))


def _chain(device: str) -> Callable[[], Tensor]:
    counter = torch.zeros(1, device=device)

    def run() -> Tensor:
        for _ in range(CHAIN):
            counter.add_(1.0)
        return counter

    return run


def _measure_graph(table: Table, chain: Callable[[], Tensor]) -> None:
    from loadtests.gpu.capture import capture

    replayed = measure(capture(chain).replay, "cuda", repeats=50)
    table.row(what="one such kernel inside a graph", value=1e3 * replayed.median_ms / CHAIN, unit="us")
    table.row(what="host time of a replay", value=1e3 * replayed.host_ms, unit="us")


def _measure_transfers(table: Table) -> None:
    """What a step sends and gets: codes of 128 rows, samples of 128 rows."""
    codes = torch.zeros(128, 16, dtype=torch.int64, device="cuda")
    samples = torch.zeros(128, 1920, dtype=torch.int16, device="cuda")
    for name, source in (("codes of 128 rows", codes), ("samples of 128 rows", samples)):
        target = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        down = measure(partial(target.copy_, source, non_blocking=True), "cuda")
        up = measure(partial(source.copy_, target, non_blocking=True), "cuda")
        table.row(what=f"{name} to the host", value=1e3 * down.median_ms, unit="us")
        table.row(what=f"{name} to the device", value=1e3 * up.median_ms, unit="us")
    waits_us = []
    event = torch.cuda.Event()
    for _ in range(50):
        codes.add_(1)
        event.record()
        started = time.perf_counter()
        event.synchronize()
        waits_us.append(1e6 * (time.perf_counter() - started))
    table.row(what="wait for an event behind one kernel", value=sorted(waits_us)[25], unit="us")
