"""Part 3: what the device does where a guard of ours stands, compared with what the pretended one does.

Each probe returns an observation; `traps.json` holds the double's. A device that behaves otherwise is found here, and
so is a double. `GUARDS` names the test that fails where our guard is taken away.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from engines.errors import EngineFault
from engines.runtime.device import LIBRARIES, CudaDevice
from engines.runtime.onnx_cuda import CudaBuffer, OnnxCuda
from models.gpu_graphs.lm import decode
from models.gpu_graphs.weights import LmWeights
from tests.dry_cuda.captures import capture
from tests.dry_cuda.log import Log
from tests.dry_cuda.provider import addition, bind, run_options, session
from tests.dry_cuda.voice import BUNDLE, emulation
from tests.gpu_check.recorder import record
from tests.gpu_check.report import Table, short
from tests.gpu_check.setting import PRETENDED, Setting

KNOWN = Path(__file__).with_name("traps.json")
Observation = Any  # what JSON holds
_GLOBAL = 0  # a capture mode


@dataclass(frozen=True, slots=True)
class Bench:
    device: CudaDevice
    log: Log

    def first_run(self) -> tuple[Any, Any]:
        """A session that captured `addition`, and its binding."""
        made = session(addition(), self.device.stream())
        bound = bind(made, self.device, 3)
        made.run_with_iobinding(bound.binding, run_options(1))
        return made, bound.binding

    def events(self) -> list[str]:
        """What the provider did since the last call, in order; kernels as `eager` or `captured`."""
        wanted = ("kernel", "capture-begin", "capture-end", "instantiate", "replay", "wait")
        entries = [one for one in self.log.take() if one.event in wanted]
        return [one.fields[0] if one.event == "kernel" else one.event for one in entries]


def first_run_advances_three_times(bench: Bench) -> Observation:
    bench.log.take()
    bench.first_run()
    return [one for one in bench.events() if one != "wait"]


def another_thread_captures_again(bench: Bench) -> Observation:
    made, binding = bench.first_run()
    bench.log.take()
    other = threading.Thread(target=made.run_with_iobinding, args=(binding, run_options(1)))
    other.start()
    other.join()
    return [one for one in bench.events() if one != "wait"]


def another_shape_replays_the_old_graph(bench: Bench) -> Observation:
    made, _ = bench.first_run()
    second = bind(made, bench.device, 9)
    bench.log.take()
    made.run_with_iobinding(second.binding, run_options(1))
    return bench.events()


def a_replay_waits_unless_told_otherwise(bench: Bench) -> Observation:
    made, binding = bench.first_run()
    seen = []
    for waits in (True, False):
        bench.log.take()
        made.run_with_iobinding(binding, run_options(1, waits=waits))
        seen.append("wait" in bench.events())
    return seen


def waiting_for_outputs_waits_for_the_device(bench: Bench) -> Observation:
    _, binding = bench.first_run()
    bench.log.take()
    binding.synchronize_outputs()
    return [one.fields[0] for one in bench.log.take() if one.event == "wait"]


def an_allocation_elsewhere_breaks_a_capture(bench: Bench) -> Observation:
    """The error of the allocation, and that of the capture's end."""
    stream, cudart, graph = bench.device.stream(), ctypes.CDLL(LIBRARIES[0]), ctypes.c_void_p()
    assert cudart.cudaStreamBeginCapture(ctypes.c_void_p(stream), _GLOBAL) == 0
    refused = "allowed"
    with ThreadPoolExecutor(1) as other:
        try:
            other.submit(bench.device.allocate, 64).result()
        except EngineFault as error:
            refused = str(error).rsplit("(", 1)[-1].rstrip(")")
    ended = cudart.cudaStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
    cudart.cudaGetLastError()
    return [refused, ended]


def the_default_stream_does_not_wait_for_ours(bench: Bench) -> Observation:
    """Work of ours is held back; a copy on the default stream meanwhile reads what was there before it."""
    device, cudart = bench.device, ctypes.CDLL(LIBRARIES[0])
    stream, event, memory = device.stream(), device.event(), device.allocate(4)
    device.fill(memory, 1, 4, stream)
    device.record(event, stream)
    device.wait(event)
    with HeldBack(device, stream) as held:  # kept: its semaphore is waited for as late as the stream runs
        device.fill(memory, 2, 4, stream)
        early = ctypes.create_string_buffer(4)
        cudart.cudaMemcpy(early, ctypes.c_void_p(memory), 4, 2)  # 2: from the device to the host
        device.record(event, stream)
        is_reached = device.is_reached(event) if not PRETENDED else False  # a query would run the pretended queue
    device.wait(event)
    del held
    late = device.pinned((4,), np.uint8)
    device.copy(late.address, memory, 4, stream)
    device.record(event, stream)
    device.wait(event)
    return [early.raw[0], is_reached, int(late.array[0])]


def an_error_of_ours_is_not_left_for_the_provider(bench: Bench) -> Observation:
    try:
        bench.device.allocate(bench.device.facts().total_bytes * 2)
    except EngineFault:
        return int(ctypes.CDLL(LIBRARIES[0]).cudaGetLastError())
    return "twice the memory was allocated"


def a_broadcast_product_copies_pointers_from_the_host(bench: Bench) -> Observation:
    """A replay would read the host's memory of the capture."""
    return sum(one.name[0] in "HP" for one in _copies(broadcast_product(), {"B": 3}, bench.log))


def many_parts_copy_a_table_from_the_host(bench: Bench) -> Observation:
    return sum(one.name[0] in "HP" for one in _copies(many_parts(), {"B": 2}, bench.log)) > 0


def float32_grouped_attention_is_refused(bench: Bench) -> Observation:
    try:
        capture(decode(LmWeights.of(BUNDLE), "float32", 64), {"B": 1, "N": 1 << 16}, {}, bench.log)
    except Exception as error:  # ONNX Runtime's own types
        return "have not been partitioned to the CUDAExecutionProvider" in str(error)
    return False


def pinned_memory_is_the_devices_and_state_begins_clean(bench: Bench) -> Observation:
    """Our backend: what is in the state after its capture, and after each of two launches; the provider's own waits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "addition.onnx")
        onnx.save(addition(), path)
        backend = OnnxCuda()
        (graph,) = backend.graphs(path)
        total: CudaBuffer = backend.buffer((4,), "float32", shared=True)
        step: CudaBuffer = backend.buffer((4,), "float32", shared=True)
        call = graph.bind({"total": total, "step": step, "total_out": total})
        step.write(np.ones(4, np.float32))
        backend.prepare(call)
        seen = [float(total.read()[0])]
        bench.log.take()
        for _ in range(2):
            call.launch()
            call.wait()
            seen.append(float(total.read()[0]))
        return [*seen, *bench.events()]


PROBES: tuple[Callable[[Bench], Observation], ...] = (
    first_run_advances_three_times,
    another_thread_captures_again,
    another_shape_replays_the_old_graph,
    a_replay_waits_unless_told_otherwise,
    waiting_for_outputs_waits_for_the_device,
    an_allocation_elsewhere_breaks_a_capture,
    the_default_stream_does_not_wait_for_ours,
    an_error_of_ours_is_not_left_for_the_provider,
    a_broadcast_product_copies_pointers_from_the_host,
    many_parts_copy_a_table_from_the_host,
    float32_grouped_attention_is_refused,
    pinned_memory_is_the_devices_and_state_begins_clean,
)
# The test that fails without our guard, among tests/dry_cuda/mutations.py.
GUARDS = {
    "first_run_advances_three_times": "a first run advances what it updates three times",
    "another_thread_captures_again": "another thread captures again",
    "another_shape_replays_the_old_graph": "another shape under a captured id replays the old graph",
    "a_replay_waits_unless_told_otherwise": "a replay waits for its end unless it is told not to",
    "waiting_for_outputs_waits_for_the_device": "waiting for outputs waits for the whole device",
    "an_allocation_elsewhere_breaks_a_capture": "another backend allocates while one captures",
    "the_default_stream_does_not_wait_for_ours": "the default stream does not wait for ours",
    "an_error_of_ours_is_not_left_for_the_provider": "an error of ours is reported by the provider's next launch",
    "a_broadcast_product_copies_pointers_from_the_host": "one left side for every row is multiplied by pointers",
    "many_parts_copy_a_table_from_the_host": "kernels for many parts copy a table of them from the host's memory",
    "float32_grouped_attention_is_refused": "float32 grouped attention has no kernel on the device",
    "pinned_memory_is_the_devices_and_state_begins_clean": "a first run advances what it updates three times",
}


def run_traps(setting: Setting, table: Table) -> None:
    log = record()
    if PRETENDED:
        emulation()
    bench, seen = Bench(setting.device, log), {}
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    for probe in PROBES:
        name = probe.__name__
        try:
            seen[name] = probe(bench)
        except Exception as error:  # a device that cannot is a finding
            seen[name] = f"{type(error).__name__}: {short(error)}"
        is_same = seen[name] == known.get(name)
        table.row(trap=name.replace("_", " "), equal=is_same, device=str(seen[name]), double=str(known.get(name)))
    if "DRY_UPDATE" in os.environ and PRETENDED:
        KNOWN.write_text(json.dumps(seen, indent=1) + "\n")
        known = seen
    differ = [name for name, one in seen.items() if one != known.get(name)]
    assert not differ, f"otherwise than on the double: {', '.join(differ)}"


class HeldBack:
    """Holds a stream at a host function until the end of the block."""

    def __init__(self, device: CudaDevice, stream: int) -> None:
        self._libc, self._semaphore = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        self._libc.sem_init(self._semaphore, 0, 0)
        launch = ctypes.CDLL(LIBRARIES[0]).cudaLaunchHostFunc
        assert launch(ctypes.c_void_p(stream), self._libc.sem_wait, self._semaphore) == 0

    def __enter__(self) -> HeldBack:
        return self

    def __exit__(self, *error: object) -> None:
        self._libc.sem_post(self._semaphore)


def _copies(model: ModelProto, lengths: dict[str, int], log: Log) -> list[Any]:
    return [one for one in capture(model, lengths, {}, log).entries if one.is_captured and one.event == "copy"]


def broadcast_product() -> ModelProto:
    """One left side for every right one: cuBLAS takes an array of pointers."""
    right = helper.make_tensor_value_info("right", TensorProto.FLOAT, ["B", 2, 8, 4])
    left = helper.make_tensor_value_info("left", TensorProto.FLOAT, [2, 4, 8])
    product = helper.make_tensor_value_info("product", TensorProto.FLOAT, ["B", 2, 4, 4])
    return _model([helper.make_node("MatMul", ["left", "right"], ["product"])], [left, right], [product])


def many_parts() -> ModelProto:
    """More parts of different sizes than a kernel takes as arguments."""
    sizes = [1 + at % 3 for at in range(40)]
    whole = helper.make_tensor_value_info("whole", TensorProto.FLOAT, ["B", sum(sizes)])
    parts = [
        helper.make_tensor_value_info(f"part{at}", TensorProto.FLOAT, ["B", size]) for at, size in enumerate(sizes)
    ]
    constant = helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)
    node = helper.make_node("Split", ["whole", "sizes"], [one.name for one in parts], axis=1)
    return _model([node], [whole], parts, [constant])


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any] | None = None) -> ModelProto:
    graph = helper.make_graph(nodes, "probe", inputs, outputs, constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
