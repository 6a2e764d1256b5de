"""A session of ONNX Runtime's CUDA provider over one small graph, as a test of the provider itself needs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from engines.runtime.device import CudaDevice, Stream
from engines.runtime.ort import ort

FLOAT = 1


def addition() -> ModelProto:
    """total[B] = total[B] + step[B]: an update in place where one buffer is bound to both."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B"]) for name in ("total", "step", "total_out")]
    node = helper.make_node("Add", ["total", "step"], ["total_out"])
    graph = helper.make_graph([node], "addition", tensors[:2], tensors[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def session(model: ModelProto, stream: Stream | None = None, *, captures: bool = True) -> Any:
    provider: dict[str, str] = {"enable_cuda_graph": str(int(captures))}
    if stream is not None:
        provider["user_compute_stream"] = str(stream)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=[("CUDAExecutionProvider", provider)], enable_fallback=0
    )


def run_options(graph: int, *, waits: bool = False) -> Any:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    if not waits:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """`addition` over memory of our own, `total` updated in place."""

    binding: Any
    total: int
    step: int
    rows: int


def bind(session: Any, device: CudaDevice, rows: int) -> Bound:
    total, step = device.allocate(rows * 4), device.allocate(rows * 4)
    binding = session.io_binding()
    binding.bind_input("total", "cuda", 0, FLOAT, [rows], total)
    binding.bind_input("step", "cuda", 0, FLOAT, [rows], step)
    binding.bind_output("total_out", "cuda", 0, FLOAT, [rows], total)
    return Bound(binding=binding, total=total, step=step, rows=rows)


def floats(device: CudaDevice, stream: Stream, address: int, count: int) -> np.ndarray[Any, Any]:
    host, event = device.pinned((count,), np.float32), device.event()
    device.copy(host.address, address, count * 4, stream)
    device.record(event, stream)
    device.wait(event)
    return host.array.copy()
