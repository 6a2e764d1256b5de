"""The device layer over both doubles: what a program may rely on, and what it may not."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from engines.errors import ConfigError, EngineFault
from engines.runtime.device import CudaDevice, Device

FRESH, ROOT = 0xFF, Path(__file__).resolve().parents[2]


def _bytes(address: int, count: int) -> bytes:
    return ctypes.string_at(address, count)


def test_fresh_memory_is_not_a_number_in_any_float_type(device: Device) -> None:
    address = device.allocate(64)
    assert _bytes(address, 64) == bytes([FRESH] * 64)
    for dtype in (np.float16, np.float32, np.float64):
        assert np.isnan(np.frombuffer(_bytes(address, 64), dtype)).all()


def test_pinned_memory_is_zeroed_and_shaped(device: Device) -> None:
    pinned = device.pinned((3, 4), np.int64)
    assert pinned.array.shape == (3, 4)
    assert pinned.array.dtype == np.int64
    assert not pinned.array.any()
    pinned.array[2, 3] = 7
    assert _bytes(pinned.address, 96)[-8:] == (7).to_bytes(8, "little")


def test_queued_work_is_done_at_its_wait_and_not_before(device: Device) -> None:
    stream, event = device.stream(), device.event()
    memory, host = device.allocate(16), device.pinned((16,), np.uint8)
    device.fill(memory, 5, 16, stream)
    device.copy(host.address, memory, 16, stream)
    device.record(event, stream)
    assert not host.array.any()
    device.wait(event)
    assert (host.array == 5).all()


def test_an_event_is_reached_when_the_work_before_it_is(device: Device) -> None:
    stream, first, second = device.stream(), device.event(), device.event()
    host, source = device.pinned((1,), np.int64), device.pinned((2,), np.int64)
    source.array[:] = 1, 2
    device.copy(host.address, source.address, 8, stream)
    device.record(first, stream)
    device.copy(host.address, source.address + 8, 8, stream)
    device.record(second, stream)
    device.wait(first)
    assert host.array[0] == 1
    while not device.is_reached(second):
        pass
    assert host.array[0] == 2


def test_a_host_that_writes_too_early_is_seen(device: Device) -> None:
    """Queued work reads pinned memory when it runs: the writer must wait first."""
    stream, event = device.stream(), device.event()
    host, memory, back = device.pinned((1,), np.int64), device.allocate(8), device.pinned((1,), np.int64)
    host.array[0] = 1
    device.copy(memory, host.address, 8, stream)
    host.array[0] = 2
    device.copy(back.address, memory, 8, stream)
    device.record(event, stream)
    device.wait(event)
    assert back.array[0] == 2


def test_streams_do_not_wait_for_each_other(device: Device) -> None:
    one, other, event = device.stream(), device.stream(), device.event()
    first, second = device.pinned((1,), np.uint8), device.pinned((1,), np.uint8)
    device.fill(first.address, 1, 1, one)
    device.fill(second.address, 1, 1, other)
    device.record(event, other)
    device.wait(event)
    assert (first.array[0], second.array[0]) == (0, 1)


def test_captured_work_is_done_at_each_replay_and_not_before(device: Device) -> None:
    stream, event = device.stream(), device.event()
    source, host = device.pinned((1,), np.int64), device.pinned((1,), np.int64)
    source.array[0] = 1
    captured = device.capture(stream, lambda: device.copy(host.address, source.address, 8, stream))
    device.record(event, stream)
    device.wait(event)
    assert host.array[0] == 0
    for value in (2, 3):
        source.array[0] = value
        device.replay(captured, stream)
        device.record(event, stream)
        device.wait(event)
        assert host.array[0] == value


def test_a_capture_that_fails_leaves_its_stream_usable(device: Device) -> None:
    stream, event, host = device.stream(), device.event(), device.pinned((4,), np.uint8)

    def fails() -> None:
        device.allocate(64)

    with pytest.raises(EngineFault, match="CUDA error 900"):
        device.capture(stream, fails)
    device.fill(host.address, 7, 4, stream)
    device.record(event, stream)
    device.wait(event)
    assert (host.array == 7).all()


def test_columns_are_joined_row_by_row(device: Device) -> None:
    stream, event = device.stream(), device.event()
    left, right, both = (device.pinned((3, width), np.int64) for width in (1, 2, 3))
    left.array[:], right.array[:] = [[1], [2], [3]], [[4, 5], [6, 7], [8, 9]]
    for part, at in ((left, 0), (right, 8)):
        width = part.array.shape[1] * 8
        device.copy_columns(both.address + at, 24, part.address, width, width, 3, stream)
    device.record(event, stream)
    device.wait(event)
    assert both.array.tolist() == [[1, 4, 5], [2, 6, 7], [3, 8, 9]]


@pytest.mark.parametrize("call", ["fill", "copy to", "copy from"])
def test_a_range_that_leaves_its_allocation_is_refused(device: Device, call: str) -> None:
    stream, small, large = device.stream(), device.allocate(16), device.allocate(64)
    with pytest.raises(EngineFault, match="invalid argument"):
        match call:
            case "fill":
                device.fill(small + 8, 0, 16, stream)
            case "copy to":
                device.copy(small, large, 32, stream)
            case "copy from":
                device.copy(large, small, 32, stream)


def test_more_memory_than_there_is_is_refused_by_its_size(device: Device) -> None:
    size_bytes = device.facts().total_bytes + 1
    with pytest.raises(EngineFault, match=rf"{size_bytes}.* failed: out of memory"):
        device.allocate(size_bytes)


def test_facts_follow_what_is_allocated_and_given_back(device: Device) -> None:
    before = device.facts()
    device.allocate(1 << 20)
    assert device.facts().free_bytes == before.free_bytes - (1 << 20)
    assert (before.capability, before.driver) == ((9, 0), 13000)
    device.close()
    assert device.facts().free_bytes == before.free_bytes


def test_a_waiting_thread_leaves_the_interpreter_to_others(pretended: None) -> None:
    """Queued work waits for a semaphore that only another Python thread posts: with the lock held that would hang."""
    libc, cudart, device = ctypes.CDLL(None), ctypes.CDLL("libcudart.so.13"), CudaDevice()
    semaphore = ctypes.create_string_buffer(64)
    libc.sem_init(semaphore, 0, 0)
    stream, event = device.stream(), device.event()
    cudart.cudaLaunchHostFunc(ctypes.c_void_p(stream), libc.sem_wait, semaphore)
    device.record(event, stream)
    waiting = threading.Thread(target=device.wait, args=(event,))
    waiting.start()
    libc.sem_post(semaphore)
    waiting.join()
    device.close()


def test_a_device_that_is_not_there_is_refused_by_its_number(pretended: None) -> None:
    with pytest.raises(ConfigError, match="CUDA device 3 was asked for; this machine has 1"):
        CudaDevice(3)


def test_a_machine_without_a_device_is_told_by_the_runtime(pretended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYCUDA_DEVICES", "0")
    with pytest.raises(EngineFault, match="no CUDA-capable device is detected"):
        CudaDevice()


def test_without_the_libraries_the_error_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.runtime.device.LIBRARIES", ("libcudart.so.0",))
    with pytest.raises(ConfigError, match=r"libcudart\.so\.0 cannot be loaded: .*requirements/cuda\.txt"):
        CudaDevice()


@pytest.mark.parametrize("failure", ["a refused call", "a query"])
def test_a_failure_is_not_left_for_the_provider_to_find(pretended: None, failure: str) -> None:
    """ONNX Runtime asks for the thread's last error after each launch, and would fail with ours."""
    cudart, device = ctypes.CDLL("libcudart.so.13"), CudaDevice()
    if failure == "a query":
        stream, event, memory = device.stream(), device.event(), device.allocate(8)
        device.fill(memory, 0, 8, stream)
        device.record(event, stream)
        assert not device.is_reached(event)
    else:
        with pytest.raises(EngineFault, match="out of memory"):
            device.allocate(device.facts().total_bytes + 1)
    assert cudart.cudaGetLastError() == 0


def test_a_write_behind_an_allocation_is_found(pretended: None) -> None:
    """What a replay computed elsewhere writes by address is beyond the API's checks; the guard behind it tells."""
    cudart, device = ctypes.CDLL("libcudart.so.13"), CudaDevice()
    address = device.allocate(64)
    before = cudart.drycuda_damaged()
    ctypes.memset(address + 64, 0, 1)
    assert cudart.drycuda_damaged() == before + 1
    with pytest.raises(EngineFault, match="cudaFree"):
        device.close()


def test_the_real_runtime_has_each_function_of_ours_and_refuses_without_a_driver(pretended: None) -> None:
    """CUDA's headers bring it. In a process without the pretended one, which has its name."""
    real = next((Path(os.environ["DRY_CUDA"]).parent / "headers").rglob("libcudart.so.13"), None)
    if real is None:
        pytest.skip("the wheel of CUDA's headers brought no library")
    script = "import sys; from engines.runtime import device; device.LIBRARIES = sys.argv[1:]; device.CudaDevice()"
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(real)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:  # otherwise there is a driver
        last = done.stderr.strip().splitlines()[-1]
        assert re.fullmatch(
            r"engines\.errors\.EngineFault: cudaGetDeviceCount\(\) failed: .*CUDA error (35|100)\)", last
        )
