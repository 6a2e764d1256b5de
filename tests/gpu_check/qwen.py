"""Part 7: decoder layers of Qwen3-TTS on ONNX Runtime, captured: what a frame would cost there. Random weights.

A frame is one step of the talker's layers and fifteen of the predictor's; each is captured as a graph of its own here,
so the sum is an upper bound of what one graph for all takes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto

from engines.runtime.onnx_cuda import OnnxCuda
from models.gpu_graphs.building import MICROSOFT, TYPES, DeviceGraph
from tests.gpu_check.buckets import replay_times
from tests.gpu_check.report import Table, short
from tests.gpu_check.setting import PRETENDED, Setting
from tests.gpu_check.shapes import PREDICTOR, TALKERS, TINY, DecoderShape

BATCHES = (1,) if PRETENDED else (1, 4, 16, 64, 128)
POSITIONS = 64 if PRETENDED else 512


def run_qwen(setting: Setting, table: Table) -> None:
    setting.timed_device()
    for shape in (TINY,) if PRETENDED else (PREDICTOR, *TALKERS):
        for dtype in sorted(set(TYPES) - {"float32"}):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "layers.onnx")
                onnx.save(layers(shape, dtype), path, save_as_external_data=not PRETENDED)
                try:
                    _measure(setting, table, shape, dtype, path)
                except Exception as error:  # a form that a provider refuses is a result
                    table.row(model=shape.name, dtype=dtype, problem=short(error))


def _measure(setting: Setting, table: Table, shape: DecoderShape, dtype: str, path: Path) -> None:
    backend = OnnxCuda(setting.device)
    (graph,) = backend.graphs(path)
    for rows in BATCHES:
        if not setting.has_time(10):
            table.note(f"out of time before {shape.name} {dtype}, {rows} rows")
            return
        buffers = {}
        for one in (*graph.inputs, *graph.outputs):
            name = one.name.replace("present", "past")
            lengths = [rows if isinstance(length, str) else length for length in one.shape]
            if name not in buffers:
                buffers[name] = backend.buffer(tuple(lengths), one.dtype)
            buffers[one.name] = buffers[name]
        buffers["lengths"].write(np.full(rows, POSITIONS * 3 // 4, np.int32))
        call = graph.bind(buffers)
        backend.prepare(call)
        floor_ms = 1e3 * shape.bytes_per_step(rows, POSITIONS * 3 // 4) / 4.3e12
        table.row(model=shape.name, dtype=dtype, rows=rows, **replay_times(call), floor_ms=floor_ms)


def layers(shape: DecoderShape, dtype: str) -> onnx.ModelProto:
    """x [B, 1, width] -> out of the same shape, over slabs."""
    graph, rng = DeviceGraph(dtype), np.random.default_rng(0)
    x = graph.input("x", graph.type, ["B", 1, shape.width])
    lengths = graph.input("lengths", TensorProto.INT32, ["B"])
    total = graph.constant("total", np.array([POSITIONS], np.int32))
    angles = np.arange(POSITIONS)[:, None] * 1e6 ** -(np.arange(shape.head_dim // 2) / (shape.head_dim // 2))
    cosine, sine = graph.weight("cosine", np.cos(angles)), graph.weight("sine", np.sin(angles))

    def product(value: str, name: str, inputs: int, outputs: int) -> str:
        weight = graph.weight(f"{name}.weight", rng.standard_normal((inputs, outputs), np.float32) / inputs**0.5)
        return graph.node("MatMul", [value, weight], name)

    ones, head_ones = graph.weight("ones", np.ones(shape.width)), graph.weight("head_ones", np.ones(shape.head_dim))
    h = graph.node("SimplifiedLayerNormalization", [x, ones], "h", axis=-1, epsilon=1e-6, stash_type=1)
    slab: list[str | int] = ["B", shape.kv_heads, POSITIONS, shape.head_dim]
    queries = shape.heads * shape.head_dim
    for at in range(shape.layers):
        name = f"layer.{at}"
        past = [graph.input(f"past_{kind}{at}", graph.type, slab) for kind in "kv"]
        present = [graph.output(f"present_{kind}{at}", graph.type, slab) for kind in "kv"]
        packed = product(h, f"{name}.packed", shape.width, queries + 2 * shape.kv_heads * shape.head_dim)
        mixed = graph.node(
            "GroupQueryAttention",
            [packed, "", "", *past, lengths, total, cosine, sine, "", "", "", "", "", head_ones, head_ones],
            [f"{name}.mixed", *present],
            domain=MICROSOFT,
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            do_rotary=1,
            qk_norm_epsilon=1e-6,
        )
        x, h = _added(graph, product(mixed, f"{name}.out", queries, shape.width), x, ones, f"{name}.attended")
        both = product(h, f"{name}.both", shape.width, 2 * shape.inner)
        graph.node("Split", [both], [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
        silu = graph.node("QuickGelu", [f"{name}.gate"], f"{name}.silu", domain=MICROSOFT, alpha=1.0)
        inner = graph.node("Mul", [silu, f"{name}.up"], f"{name}.inner")
        x, h = _added(graph, product(inner, f"{name}.down", shape.inner, shape.width), x, ones, f"{name}.closed")
    graph.node("Add", [x, h], graph.output("out", graph.type, ["B", 1, shape.width]))
    return graph.model(f"{shape.name} {dtype}")


def _added(graph: DeviceGraph, added: str, x: str, ones: str, name: str) -> tuple[str, str]:
    normed = graph.node(
        "SkipSimplifiedLayerNormalization",
        [added, x, ones],
        [f"{name}.normed", "", "", f"{name}.sum"],
        domain=MICROSOFT,
        epsilon=1e-6,
    )
    return f"{name}.sum", normed
