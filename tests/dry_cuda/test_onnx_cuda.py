"""The CUDA backend over the pretended device, its replays computed by the CPU provider."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper

from engines.errors import BundleError, EngineFault
from engines.runtime import onnx_cuda
from engines.runtime.onnx_cuda import CudaBuffer, CudaCall, OnnxCuda
from tests.dry_cuda.emulation import Emulation
from tests.dry_cuda.log import Log
from tests.dry_cuda.provider import addition


@cache
def emulation() -> Emulation:
    return Emulation()


@pytest.fixture
def backend(log: Log) -> Iterator[OnnxCuda]:
    emulation().failures.clear()
    yield OnnxCuda()
    assert not emulation().failures


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "addition.onnx"
    onnx.save(addition(), path)
    return path


class Adder:
    """total += step over rows of one slab."""

    def __init__(self, backend: OnnxCuda, path: Path, rows: int = 4) -> None:
        (self.graph,) = backend.graphs(path)
        self.total = backend.buffer((rows,), "float32")
        self.step = backend.buffer((rows,), "float32", shared=True)
        self.call = self.bind(0, rows)

    def bind(self, first: int, last: int) -> CudaCall:
        total, step = self.total.rows(first, last), self.step.rows(first, last)
        call = self.graph.bind({"total": total, "step": step, "total_out": total})
        assert isinstance(call, CudaCall)
        return call


def test_a_buffer_begins_as_zeros(backend: OnnxCuda) -> None:
    """Fresh memory is not a number, and a NaN in a column that no row may see spreads in some kernels."""
    for shared in (False, True):
        assert not backend.buffer((3, 5), "float16", shared=shared).read().any()


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_written_is_read(backend: OnnxCuda, shared: bool) -> None:
    buffer = backend.buffer((4, 2), "int64", shared=shared)
    buffer.write(np.array([[1, 2], [3, 4]]), first=1)
    assert buffer.read().tolist() == [[0, 0], [1, 2], [3, 4], [0, 0]]
    assert buffer.rows(2, 4).read(0, 1).tolist() == [[3, 4]]


@pytest.mark.parametrize("shared", [False, True])
def test_rows_beyond_a_buffer_are_refused(backend: OnnxCuda, shared: bool) -> None:
    buffer = backend.buffer((4, 2), "int64", shared=shared)
    for refused in (
        lambda: buffer.write(np.zeros((2, 2)), first=3),
        lambda: buffer.read(2, 5),
        lambda: buffer.rows(1, 5),
    ):
        with pytest.raises(EngineFault, match="of a buffer of 4 rows"):
            refused()


def test_a_row_is_copied_as_far_as_it_is_held(backend: OnnxCuda) -> None:
    slab = backend.buffer((3, 2, 4, 2), "float32")
    slab.write(np.arange(16, dtype=np.float32).reshape(1, 2, 4, 2) + 1)
    slab.copy_row(0, 2, positions=3)
    rows = slab.read()
    assert np.array_equal(rows[2, :, :3], rows[0, :, :3])
    assert not rows[2, :, 3:].any()
    assert not rows[1].any()


def test_state_is_clean_after_its_capture_and_advances_once_a_launch(backend: OnnxCuda, graph_file: Path) -> None:
    """A capture runs the graph three times over whatever it is bound to."""
    adder = Adder(backend, graph_file)
    adder.step.write(np.ones(4, np.float32))
    backend.prepare(adder.call)
    assert not adder.total.read().any()
    for launches in (1, 2):
        adder.call.launch()
        adder.call.wait()
        assert adder.total.read().tolist() == [launches] * 4


def test_a_result_is_there_after_the_wait_and_not_before(backend: OnnxCuda, graph_file: Path) -> None:
    adder = Adder(backend, graph_file)
    seen = backend.buffer((4,), "float32", shared=True)
    call = adder.graph.bind({"total": adder.total, "step": adder.step, "total_out": seen})
    adder.step.write(np.ones(4, np.float32))
    backend.prepare(call)
    seen.clear()
    adder.total.write(np.full(4, 6, np.float32))
    call.launch()
    assert 7 not in seen.read()
    call.wait()
    assert seen.read().tolist() == [7] * 4


def test_a_wait_is_for_an_event_and_never_for_the_device(backend: OnnxCuda, graph_file: Path, log: Log) -> None:
    adder = Adder(backend, graph_file)
    backend.prepare(adder.call)
    log.take()
    for _ in range(3):
        adder.call.launch()
        adder.call.wait()
    happened = [(one.event, one.fields[:1]) for one in log.take()]
    assert [event for event, _ in happened] == ["replay", "record", "wait"] * 3
    assert {fields for event, fields in happened if event == "wait"} == {("event",)}


def test_nothing_is_captured_after_warm_up(backend: OnnxCuda, graph_file: Path, log: Log) -> None:
    adder = Adder(backend, graph_file)
    log.take()
    with pytest.raises(EngineFault, match=r"addition\.onnx was not prepared at warm-up"):
        adder.call.launch()
    assert "capture-begin" not in [one.event for one in log.take()]


def test_a_call_is_launched_by_the_thread_that_prepared_it(backend: OnnxCuda, graph_file: Path, log: Log) -> None:
    adder = Adder(backend, graph_file)
    backend.prepare(adder.call)
    log.take()
    with ThreadPoolExecutor(1) as other, pytest.raises(EngineFault, match="prepared in another thread"):
        other.submit(adder.call.launch).result()
    assert "capture-begin" not in [one.event for one in log.take()]


def test_each_bucket_has_a_graph_of_its_own(backend: OnnxCuda, graph_file: Path) -> None:
    """Under one number the second would replay the first one's shape and addresses."""
    adder = Adder(backend, graph_file)
    first, last = adder.bind(0, 1), adder.bind(2, 4)
    backend.prepare(first, last)
    adder.step.write(np.array([1, 2, 3, 4], np.float32))
    last.launch()
    last.wait()
    assert adder.total.read().tolist() == [0, 0, 3, 4]
    first.launch()
    first.wait()
    assert adder.total.read().tolist() == [1, 0, 3, 4]


def test_one_backend_captures_at_a_time(backend: OnnxCuda, graph_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture is broken by what another one allocates."""
    adder, alone = Adder(backend, graph_file), []
    monkeypatch.setattr(CudaCall, "prepare", lambda call: alone.append(onnx_cuda._capturing.locked()))
    backend.prepare(adder.call)
    assert alone == [True]


def test_shared_memory_is_not_written_under_a_call_in_flight(backend: OnnxCuda, graph_file: Path) -> None:
    adder = Adder(backend, graph_file)
    backend.prepare(adder.call)
    adder.call.launch()
    with pytest.raises(EngineFault, match="while a call over it was in flight"):
        adder.step.write(np.ones(4, np.float32))
    adder.call.wait()
    adder.step.write(np.ones(4, np.float32))


def test_two_backends_have_streams_that_do_not_wait_for_each_other(backend: OnnxCuda, graph_file: Path) -> None:
    other = OnnxCuda()
    one, two = Adder(backend, graph_file), Adder(other, graph_file)
    backend.prepare(one.call)
    other.prepare(two.call)
    for adder in (one, two):
        adder.step.write(np.ones(4, np.float32))
        adder.call.launch()
    two.call.wait()
    assert two.total.read().tolist() == [1] * 4
    assert one.call._queue.device.is_reached(one.call._event) is False
    one.call.wait()


def test_a_graph_that_the_device_cannot_run_whole_is_refused(backend: OnnxCuda, tmp_path: Path) -> None:
    text = [helper.make_tensor_value_info(name, TensorProto.STRING, ["B"]) for name in ("text", "upper")]
    node = helper.make_node("StringNormalizer", ["text"], ["upper"], case_change_action="UPPER")
    model = helper.make_model(
        helper.make_graph([node], "host", text[:1], text[1:]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    onnx.save(model, tmp_path / "host.onnx")
    with pytest.raises(BundleError, match=r"host\.onnx cannot be loaded on CUDAExecutionProvider"):
        backend.graphs(tmp_path / "host.onnx")


def test_buffers_of_the_wrong_type_are_a_bug_of_ours(backend: OnnxCuda, graph_file: Path) -> None:
    (graph,) = backend.graphs(graph_file)
    whole: CudaBuffer = backend.buffer((4,), "int64")
    with pytest.raises(AssertionError, match="total is float32, its buffer int64"):
        graph.bind({"total": whole, "step": whole, "total_out": whole})
