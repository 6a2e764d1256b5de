"""Opens a graph on the CUDA provider, binds it for one bucket, captures it, and tells what its capture holds."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from engines.runtime.device import CudaDevice
from tests.dry_cuda.log import Entry, Log, captured, during_captures
from tests.dry_cuda.provider import run_options, session

_TYPES = {  # ONNX's number and bytes
    "tensor(float)": (1, 4),
    "tensor(float16)": (10, 2),
    "tensor(bfloat16)": (16, 2),
    "tensor(int64)": (7, 8),
    "tensor(int32)": (6, 4),
    "tensor(bool)": (9, 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    nodes: Counter[str]
    copies: list[tuple[str, int]]  # direction and bytes
    disturbances: list[Entry]  # allocations, waits and errors while it was captured
    entries: list[Entry]  # all of its first run


def capture(model: ModelProto, lengths: dict[str, int], aliases: dict[str, str], log: Log) -> Captured:
    """`lengths` of named axes; `aliases` from an output to the input whose buffer it shares."""
    device = CudaDevice()
    made = session(model, device.stream())
    binding, buffers = made.io_binding(), {}

    def bind(one: Any, put: Any) -> None:
        shape = [lengths[length] if isinstance(length, str) else length for length in one.shape]
        kind, item_bytes = _TYPES[one.type]
        name = aliases.get(one.name, one.name.replace("present_", "past_"))
        if name not in buffers:
            buffers[name] = device.allocate(math.prod(shape) * item_bytes)
        put(one.name, "cuda", 0, kind, shape, buffers[name])

    for one in made.get_inputs():
        bind(one, binding.bind_input)
    for one in made.get_outputs():
        bind(one, binding.bind_output)
    log.take()
    made.run_with_iobinding(binding, run_options(1))
    entries = log.take()
    del binding, made
    device.close()  # thousands of megabytes, of many rows
    return Captured(
        nodes=captured(entries),
        copies=[(one.name, int(one.fields[2])) for one in entries if one.is_captured and one.event == "copy"],
        disturbances=[one for one in during_captures(entries) if one.event in ("allocate", "wait", "error")],
        entries=entries,
    )
