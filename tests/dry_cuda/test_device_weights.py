"""Weights that several graphs have, on the pretended device: there once, whole, and read by the device alone."""

from __future__ import annotations

import ctypes
import json
import mmap
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from engines.errors import BundleError
from engines.families.phone_pointer.device_buffers import LmBuffers, VocoderBuffers
from engines.runtime.base import Graph
from engines.runtime.device_weights import HELD, LISTED
from engines.runtime.onnx_cuda import CudaGraph, OnnxCuda
from tests.dry_cuda.log import Log, captured
from tests.dry_cuda.test_gpu_graphs import TABLE
from tests.dry_cuda.voice import BUNDLE, form

ROOT = Path(__file__).resolve().parents[2]
_PROT_NONE = 0


def allocated(log: Log) -> int:
    """Bytes of the device since the last call."""
    return sum(int(one.fields[1]) for one in log.take() if one.event == "allocate" and one.fields[0] == "D")


def test_a_graph_that_shares_its_weights_allocates_none(log: Log) -> None:
    backend, weights = OnnxCuda(), sum(map(len, _bytes_of("decode").values()))
    log.take()
    backend.graphs(form().graph("decode"))
    first = allocated(log)
    backend.graphs(*(form().graph(f"verify-{steps}") for steps in form().verify_steps))
    assert weights <= first <= 1.1 * weights
    assert allocated(log) <= 0.05 * weights
    assert weights <= backend.weights.size_bytes <= first


def test_the_file_holds_what_graphs_share_once() -> None:
    graphs = [sum(map(len, _bytes_of(name).values())) for name in _listed()]
    assert (form().folder / HELD).stat().st_size < 0.5 * sum(graphs)


def test_the_device_has_the_files_bytes(log: Log) -> None:
    backend = OnnxCuda()
    device, stream, event = backend._device, backend._queue.stream, backend._device.event()
    values = backend.weights.of(form().graph("vocoder"))
    assert len(values) > 20
    for name, content in _bytes_of("vocoder").items():
        seen = device.pinned((len(content),), np.uint8)
        device.copy(seen.address, values[name].data_ptr(), len(content), stream)
        device.record(event, stream)
        device.wait(event)
        assert seen.array.tobytes() == content, name


@pytest.mark.parametrize("rows", [2, 64])
def test_shared_weights_change_no_kernel(log: Log, rows: int) -> None:
    backend = OnnxCuda()
    (graph,) = backend.graphs(form().graph("decode"))
    call = graph.bind(LmBuffers(BUNDLE, form(), backend, rows).decode(rows))
    log.take()
    backend.prepare(call)
    assert captured(log.take()) == json.loads(TABLE.read_text())[f"decode {rows}"]


def test_no_session_reads_a_shared_weight_on_the_host(pretended: None) -> None:
    """On a device that would end the process. Here their memory is closed to the host before a graph is opened."""
    script = "from tests.dry_cuda.test_device_weights import open_and_replay; open_and_replay()"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "replayed\n"), done.stderr[-2000:]


def open_and_replay() -> None:
    backend = OnnxCuda()
    names = ["decode", *(f"verify-{steps}" for steps in form().verify_steps)]
    closed = 0
    for value in [one for name in [*names, "vocoder"] for one in backend.weights.of(form().graph(name)).values()]:
        closed += _close(value.data_ptr(), value.tensor_size_in_bytes())
    assert closed > 0.8 * backend.weights.size_bytes
    graphs = backend.graphs(*map(form().graph, [*names, "vocoder"]))
    lm = LmBuffers(BUNDLE, form(), backend, 2)
    sound = VocoderBuffers(BUNDLE, form(), backend, slots=2, rows=2, sizes=(4,))
    bound = [lm.decode(2), *(lm.verify(2, steps) for steps in form().verify_steps), sound.job(2, 4)]
    calls = [graph.bind(buffers) for graph, buffers in zip(graphs, bound, strict=True)]
    backend.prepare(*calls)
    for call in calls:
        call.launch()
        call.wait()
    print("replayed")


def _close(address: int, size_bytes: int) -> int:
    """The whole pages in this range. -> bytes"""
    page = mmap.PAGESIZE
    first, last = address + -address % page, (address + size_bytes) // page * page
    if last <= first:
        return 0
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _PROT_NONE) == 0
    return last - first


@pytest.mark.parametrize("ending", ["del backend; gc.collect()", "kept = [backend, graph]; kept.append(kept)"])
def test_sessions_and_their_backend_may_end_in_any_order(pretended: None, ending: str) -> None:
    script = "import gc; from tests.dry_cuda.test_device_weights import opened; backend, graph = opened(); " + ending
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])


def opened() -> tuple[OnnxCuda, list[Graph]]:
    backend = OnnxCuda()
    return backend, [*backend.graphs(form().graph("decode"), form().graph("vocoder"))]


def test_a_form_without_a_list_has_its_own_weights(log: Log, tmp_path: Path) -> None:
    """As forms of earlier versions. Each is an allocation: an arena would take up to twice as much."""
    copied = Path(shutil.copytree(form().folder, tmp_path / "form"))
    (copied / LISTED).unlink()
    log.take()
    (graph,) = OnnxCuda().graphs(copied / "decode.onnx")
    assert isinstance(graph, CudaGraph)
    sizes = {int(one.fields[1]) for one in log.take() if one.event == "allocate"}
    assert {len(content) for content in _bytes_of("decode").values() if len(content) > 1 << 18} <= sizes


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [(HELD, b"short", r"shared\.weights has 5 bytes"), (LISTED, b"no list", r"weights\.json names no weights")],
)
def test_a_damaged_file_is_named(log: Log, tmp_path: Path, file: str, content: bytes, problem: str) -> None:
    copied = Path(shutil.copytree(form().folder, tmp_path / "form"))
    (copied / file).write_bytes(content)
    with pytest.raises(BundleError, match=problem):
        OnnxCuda().graphs(copied / "decode.onnx")


def _listed() -> dict[str, dict[str, dict[str, int | str | list[int]]]]:
    found: dict[str, dict[str, dict[str, int | str | list[int]]]] = json.loads((form().folder / LISTED).read_text())
    return found


def _bytes_of(graph: str) -> dict[str, bytes]:
    content, found = (form().folder / HELD).read_bytes(), {}
    for name, one in _listed()[graph].items():
        size = int(np.prod(one["shape"])) * (4 if one["dtype"] == "float32" else 2)
        found[name] = content[int(str(one["at"])) :][:size]
    return found
