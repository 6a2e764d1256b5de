"""Clocks: CUDA events on a GPU, perf_counter on a CPU; medians after a warm-up. And what runs on the device: kernels.

Host time is what a call costs the thread that makes it; device time is what the stream needs. Where the host is slower
than the device, both are the same.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch._C._autograd import DeviceType

Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    median_ms: float
    worst_ms: float
    host_ms: float  # median time until the call returned, no wait for the device


def measure(call: Call, device: str, repeats: int = 20, warmups: int = 3) -> Timing:
    """Each repetition alone between two events, so that a slow one is seen."""
    for _ in range(warmups):
        call()
    device_ms: list[float] = []
    host_ms: list[float] = []
    if device != "cuda":
        for _ in range(repeats):
            started = time.perf_counter()
            call()
            device_ms.append(1e3 * (time.perf_counter() - started))
        return Timing(
            median_ms=statistics.median(device_ms), worst_ms=max(device_ms), host_ms=statistics.median(device_ms)
        )
    torch.cuda.synchronize()
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        started = time.perf_counter()
        call()
        host_ms.append(1e3 * (time.perf_counter() - started))
        last.record()
        torch.cuda.synchronize()
        device_ms.append(first.elapsed_time(last))
    return Timing(median_ms=statistics.median(device_ms), worst_ms=max(device_ms), host_ms=statistics.median(host_ms))


def in_a_row_ms(call: Call, device: str, count: int = 20) -> float:
    """Per call, of calls made without a wait between them: the launch of one hides behind the run of the one before."""
    call()
    if device != "cuda":
        started = time.perf_counter()
        for _ in range(count):
            call()
        return 1e3 * (time.perf_counter() - started) / count
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    first.record()
    for _ in range(count):
        call()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / count


def copy_bytes_per_s(device: str) -> float:
    """Bytes read and written per second by a copy far larger than any cache (on a CPU: small, a smoke test)."""
    count = 2**31 if device == "cuda" else 2**22
    source = torch.zeros(count, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    timing = measure(lambda: target.copy_(source), device, repeats=10)
    return 2 * count / (1e-3 * timing.median_ms)


def kernels(call: Call) -> Counter[str]:
    """Names of the CUDA kernels that one call runs, with their counts; empty where the profiler sees none."""
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    names: Counter[str] = Counter()
    for event in seen.events() or []:
        if event.device_type == DeviceType.CUDA and not event.name.startswith(("Memcpy", "Memset")):
            names[event.name] += 1
    return names


def kernel_seconds(call: Call) -> dict[str, float]:
    """Device seconds per kernel name over one call, the longest first."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        call()
        torch.cuda.synchronize()
    spent: dict[str, float] = {}
    for event in seen.events() or []:
        if event.device_type == DeviceType.CUDA:
            spent[event.name] = spent.get(event.name, 0.0) + 1e-6 * event.time_range.elapsed_us()
    return dict(sorted(spent.items(), key=lambda item: -item[1]))
