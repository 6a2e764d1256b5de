"""Part 7: Qwen3-TTS at its published sizes: the very graphs that serving captures, on weights without values.

A frame is the talker's step, the fifteen dependent steps of the predictor and the sampling of sixteen codes, in one
captured graph; a prompt's block is another.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from engines.runtime.base import Buffer, Graph
from engines.runtime.device import CudaDevice
from engines.runtime.onnx_cuda import OnnxCuda
from models.gpu_graphs import qwen3
from models.gpu_graphs.building import TYPES
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from models.gpu_graphs.writing import save
from tests.dry_cuda.shapes import published
from tests.gpu_check.buckets import replay_times
from tests.gpu_check.report import Table, short
from tests.gpu_check.setting import PRETENDED, Setting
from tests.gpu_check.shapes import PREDICTOR, PREDICTOR_STEPS, TALKERS, DecoderShape

BATCHES = (1,) if PRETENDED else (1, 4, 16, 64, 128)
POSITIONS, HELD, BLOCK = 512, 384, 32
_NOISE = 1 << 20
_GIVEN = {"is_active": 1, "follows": 1, "lengths": HELD, "top_k": 50, "may_end": 1, "top_p": 1, "damping": 1,
          "temperature": 0.9, "sharpness": 1 / 0.9}  # fmt: skip


def run_qwen(setting: Setting, table: Table) -> None:
    setting.timed_device()
    for shape in TALKERS[:1] if PRETENDED else TALKERS:
        weights = published(layers=1, codebooks=3) if PRETENDED else published(shape.width, shape.inner)
        for dtype in sorted(set(TYPES) - {"float32"}):
            device = CudaDevice()
            try:
                _measure(setting, table, device, shape, weights, dtype)
            except Exception as error:  # a form that a provider refuses is a result
                table.row(model=shape.name, dtype=dtype, problem=short(error))
            finally:
                device.close()


def _measure(
    setting: Setting, table: Table, device: CudaDevice, shape: DecoderShape, weights: Qwen3Weights, dtype: str
) -> None:
    if not setting.has_time(25):
        table.note(f"out of time before {shape.name} {dtype}")
        return
    graphs = {
        "frame": qwen3.frame(weights, dtype, POSITIONS),
        "prompt": qwen3.prefill(weights, dtype, POSITIONS, BLOCK),
    }
    backend = OnnxCuda(device)
    with tempfile.TemporaryDirectory() as folder:
        save(graphs, Path(folder))
        frame, prompt = backend.graphs(*(Path(folder, f"{name}.onnx") for name in graphs))
    for graph, name, batches in ((frame, "frame", BATCHES), (prompt, "prompt", (1,))):
        for rows in batches:
            if not setting.has_time(10):
                table.note(f"out of time before {shape.name} {dtype}, {name}, {rows} rows")
                return
            call = graph.bind(_buffers(backend, graph, rows))
            backend.prepare(call)
            steps_bytes = [shape.bytes_per_step(rows, HELD), PREDICTOR_STEPS * PREDICTOR.bytes_per_step(rows, 8)]
            floor_ms = 1e3 * sum(steps_bytes[: 2 if name == "frame" else 1]) / 4.3e12
            table.row(model=shape.name, dtype=dtype, graph=name, rows=rows, **replay_times(call), floor_ms=floor_ms)


def _buffers(backend: OnnxCuda, graph: Graph, rows: int) -> dict[str, Buffer]:
    """By name of the graph's ends; what it updates in place is one buffer under both names."""
    lengths = {"B": rows, "N": _NOISE}
    found: dict[str, Buffer] = {}
    for one in (*graph.inputs, *graph.outputs):
        name = one.name.removesuffix("_out").replace("present_", "past_")
        if name not in found:
            shape = tuple(lengths[length] if isinstance(length, str) else length for length in one.shape)
            found[name] = backend.buffer(shape, one.dtype)
            value = int(name.removeprefix("inner_at")) if name.startswith("inner_at") else _GIVEN.get(name, 0)
            if value:
                found[name].write(np.full(shape, value, found[name].dtype))
        found[one.name] = found[name]
    return found
