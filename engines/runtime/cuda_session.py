"""Sessions of ONNX Runtime's CUDA provider, as calls that are captured need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import BundleError
from engines.runtime.base import TensorSpec
from engines.runtime.device import Stream
from engines.runtime.ort import ort

CUDA = "CUDAExecutionProvider"
EAGER = -1  # as a graph id: neither captured nor replayed
_DTYPES = {"float": "float32", "double": "float64"}


def has_provider() -> bool:
    """Whether this onnxruntime is one for CUDA. It may be so on a machine without a device."""
    return CUDA in ort.get_available_providers()


def session(path: Path, stream: Stream, weights: Mapping[str, Any]) -> Any:
    """Fails where a node would run on the host, since such a session cannot be captured. `weights` outlive it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # Of the weights that are its own: allocations of their size, where its arena would take up to twice as much.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    for name, value in weights.items():
        options.add_initializer(name, value)
    options.intra_op_num_threads = 1  # no node runs on the host, and each session would have a thread for every core
    # Our graphs need no cuDNN. Where the system has one it would be loaded, and its kernels are not those we tested.
    provider = {"enable_cuda_graph": "1", "user_compute_stream": str(stream), "use_tf32": "0", "enable_cudnn": "0"}
    try:
        return ort.InferenceSession(str(path), options, providers=[(CUDA, provider)], enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises its own types for every kind of unreadable graph
        raise BundleError(f"{path.name} cannot be loaded on {CUDA}: {error}") from error


def run_options(graph: int, *, waits: bool = False) -> Any:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    if not waits:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


def specs(ends: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=one.name, shape=tuple(one.shape), dtype=_dtype(one.type)) for one in ends)


def _dtype(kind: str) -> str:
    bare = kind.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(bare, bare)
