"""ONNX Runtime's real CUDA provider over the pretended libraries: it loads, places, captures and replays, and each
trap that its behaviour sets is shown here, so that a new version that behaves otherwise is noticed."""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("onnx")

from engines.errors import EngineFault
from engines.runtime.device import CudaDevice
from engines.runtime.installed import check_one_runtime
from engines.runtime.ort import ort
from tests.dry_cuda.log import Entry, Log, captured, during_captures, kernel_name
from tests.dry_cuda.provider import addition, bind, run_options, session

GLOBAL, INVALIDATED = 0, 901  # CUDA's numbers: a capture mode, an error
ADD = "_BinaryElementWiseSimple"


def _events(entries: list[Entry]) -> list[str]:
    """Kernels as `eager` or `captured`, and what happens around them, in order."""
    names = {"kernel": lambda entry: entry.fields[0]}
    wanted = ("kernel", "capture-begin", "capture-end", "instantiate", "replay")
    return [names.get(one.event, lambda entry: entry.event)(one) for one in entries if one.event in wanted]


FIRST_RUN = ["eager", "eager", "capture-begin", "captured", "capture-end", "instantiate", "replay"]


def test_kernel_names_lose_namespaces_templates_and_parameters() -> None:
    whole = "void onnxruntime::cuda::_Unary<true, std::pair<int, int> >(float const*, int (*)(int))"
    assert kernel_name(whole) == "_Unary"
    assert kernel_name("cublasGemmEx") == "cublasGemmEx"
    assert kernel_name("void (anonymous namespace)::gather<long>(long const*)") == "gather"


def test_the_cuda_set_lists_the_provider_and_holds_one_runtime(pretended: None) -> None:
    """Its environment is made of the pins of requirements/cuda.txt, without the vendor's gigabytes."""
    check_one_runtime()
    assert ort.get_available_providers()[0] != "CPUExecutionProvider"
    assert "CUDAExecutionProvider" in ort.get_available_providers()


def test_the_provider_loads_and_places_its_node(log: Log) -> None:
    assert session(addition()).get_providers()[0] == "CUDAExecutionProvider"


def test_a_first_run_is_two_eager_runs_a_capture_and_a_replay(log: Log) -> None:
    """So state that is updated in place advances three times: captures go over scratch memory."""
    device = CudaDevice()
    made = session(addition(), device.stream())
    bound = bind(made, device, 3)
    made.run_with_iobinding(bound.binding, run_options(1))
    assert _events(log.take()) == FIRST_RUN
    made.run_with_iobinding(bound.binding, run_options(1))
    assert _events(log.take()) == ["replay"]


def test_graphs_belong_to_the_thread_that_captured_them(log: Log) -> None:
    """Another thread captures again under the same id, so warm-up and serving are one thread's."""
    device = CudaDevice()
    made = session(addition(), device.stream())
    bound = bind(made, device, 3)
    made.run_with_iobinding(bound.binding, run_options(1))
    log.take()
    other = threading.Thread(target=made.run_with_iobinding, args=(bound.binding, run_options(1)))
    other.start()
    other.join()
    assert _events(log.take()) == FIRST_RUN


def test_another_shape_under_a_captured_id_is_accepted_and_replays_the_old_graph(log: Log) -> None:
    device = CudaDevice()
    made = session(addition(), device.stream())
    first, second = bind(made, device, 3), bind(made, device, 9)
    made.run_with_iobinding(first.binding, run_options(1))
    log.take()
    made.run_with_iobinding(second.binding, run_options(1))
    assert _events(log.take()) == ["replay"]


def test_our_stream_is_the_one_that_captures_and_replays(log: Log) -> None:
    device = CudaDevice()
    made = session(addition(), device.stream())
    (created,) = {entry.stream: entry.fields for entry in log.take() if entry.event == "stream"}.items()
    made.run_with_iobinding(bind(made, device, 3).binding, run_options(1))
    used = {entry.stream for entry in log.take() if entry.event in ("kernel", "replay", "capture-begin")}
    assert used == {created[0]}
    assert created[1] == ("non-blocking",)  # one that waits for the default stream would wait for all


@pytest.mark.parametrize("waits", [True, False])
def test_a_replay_waits_unless_it_is_told_not_to(log: Log, waits: bool) -> None:
    device = CudaDevice()
    made = session(addition(), device.stream())
    bound = bind(made, device, 3)
    made.run_with_iobinding(bound.binding, run_options(1))
    log.take()
    made.run_with_iobinding(bound.binding, run_options(1, waits=waits))
    assert ("wait" in [entry.event for entry in log.take()]) is waits


def test_waiting_for_outputs_waits_for_the_whole_device(log: Log) -> None:
    """So it is never used: one worker would wait for the other's stream too."""
    device = CudaDevice()
    made = session(addition(), device.stream())
    bound = bind(made, device, 3)
    made.run_with_iobinding(bound.binding, run_options(1))
    log.take()
    bound.binding.synchronize_outputs()
    assert [entry.fields[0] for entry in log.take() if entry.event == "wait"] == ["device"]


def test_a_capture_records_its_nodes_and_allocates_nothing(log: Log) -> None:
    device = CudaDevice()
    made = session(addition(), device.stream())
    bound = bind(made, device, 3)
    log.take()
    made.run_with_iobinding(bound.binding, run_options(1))
    entries = log.take()
    assert captured(entries) == Counter({ADD: 1})
    assert not [entry for entry in during_captures(entries) if entry.event in ("allocate", "wait", "error")]


def test_an_allocation_elsewhere_breaks_a_capture(log: Log) -> None:
    """Captures are global: while one worker captures, no other may allocate."""
    device = CudaDevice()
    stream = device.stream()
    cudart, graph = ctypes.CDLL("libcudart.so.13"), ctypes.c_void_p()
    assert cudart.cudaStreamBeginCapture(ctypes.c_void_p(stream), GLOBAL) == 0
    with ThreadPoolExecutor(1) as other, pytest.raises(EngineFault, match="CUDA error 900"):
        other.submit(device.allocate, 64).result()
    assert cudart.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph)) == INVALIDATED
