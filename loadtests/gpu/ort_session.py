"""The only file of the measurements that imports onnxruntime: sessions, bound torch buffers, profiles, run options.

Buffers are torch tensors bound by address, on either device, so that what the tests prove on a CPU is the code that
runs on a GPU. A cache bound to the same tensor as input and output is updated in place.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at the import

import ctypes
import json
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import Tensor

from loadtests.gpu.onnx_graphs import ONNX_TYPES
from loadtests.gpu.setting import Setting, Skipped

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_LIBRARIES = ("libcudart", "libcublasLt", "libcublas", "libcurand", "libnvrtc", "libcufft", "libcudnn")
QUIET = 3
ALL_REFUSED = "every variant was refused; the rows say why"


def require_provider(setting: Setting) -> str:
    """The provider that the device wants; skips the step where the installed package lacks it."""
    if not setting.is_cuda:
        return CPU_PROVIDER
    available = onnxruntime.get_available_providers()
    if CUDA_PROVIDER not in available:
        raise Skipped(
            f"this onnxruntime {onnxruntime.__version__} has only {', '.join(available)}; onnxruntime-gpu is needed, "
            "in the environment or in a folder named by PYTHONPATH"
        )
    _load_cuda_libraries()
    return CUDA_PROVIDER


@cache
def _load_cuda_libraries() -> None:
    """Those that torch brought: the provider finds what is already in the process, wherever its package lies."""
    for name in CUDA_LIBRARIES:
        for library in sorted((Path(torch.__file__).parents[1] / "nvidia").glob(f"**/{name}.so.*")):
            with suppress(OSError):
                ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def _why_not_loaded() -> str:
    library = provider_library()
    if library is None:
        return "the package has no CUDA provider"
    try:
        ctypes.CDLL(str(library.with_name("libonnxruntime_providers_shared.so")), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return "the provider's library loads, but found no device that it can use"


def open_session(
    model: onnx.ModelProto, setting: Setting, is_captured: bool = False, stream: int | None = None,
    profile_prefix: str | None = None,
) -> onnxruntime.InferenceSession:  # fmt: skip
    """`stream`: the address of a CUDA stream that the session shall use in place of its own."""
    provider = require_provider(setting)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    settings: dict[str, Any] = {}
    if provider == CUDA_PROVIDER:
        settings = {"device_id": "0", "enable_cuda_graph": "1" if is_captured else "0"}
        if stream is not None:
            settings["user_compute_stream"] = str(stream)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(),
        options,
        providers=[(provider, settings), CPU_PROVIDER][: 1 + setting.is_cuda],
        enable_fallback=0,  # else a refused capture comes back as a session that captures nothing
    )
    if provider not in session.get_providers():
        raise RuntimeError(f"the session fell back to {', '.join(session.get_providers())}: {_why_not_loaded()}")
    if is_captured and session.get_provider_options()[provider].get("enable_cuda_graph") != "1":
        raise RuntimeError(f"the session captures nothing: {session.get_provider_options()[provider]}")
    return session


@dataclass(frozen=True)
class Bound:
    """A session with its buffers at fixed addresses."""

    session: onnxruntime.InferenceSession
    binding: Any
    tensors: dict[str, Tensor]  # kept alive: the binding knows only addresses

    def run(self, options: onnxruntime.RunOptions | None = None) -> None:
        self.session.run_with_iobinding(self.binding, options)


def bind(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Bound:
    binding = session.io_binding()
    for is_input, tensors in ((True, inputs), (False, outputs)):
        for name, tensor in tensors.items():
            assert tensor.is_contiguous(), name
            arguments = {
                "name": name,
                "device_type": tensor.device.type,
                "device_id": 0,
                "element_type": ONNX_TYPES[tensor.dtype],
                "shape": list(tensor.shape),
                "buffer_ptr": tensor.data_ptr(),
            }
            (binding.bind_input if is_input else binding.bind_output)(**arguments)
    return Bound(session, binding, {**inputs, **{f"{name} out": tensor for name, tensor in outputs.items()}})


def run_options(graph_id: int | None, is_synchronous: bool) -> onnxruntime.RunOptions:
    """graph_id None runs without capture. The first runs of an id are plain, then it is captured, then replayed."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", "-1" if graph_id is None else str(graph_id))
    if not is_synchronous:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlaces:
    """Where the nodes of a graph ran, by ONNX Runtime's own profile."""

    by_provider: dict[str, int]
    strays: dict[str, int]  # operator types that ran on another provider than the wanted one
    copies: int  # Memcpy nodes


def node_places(
    model: onnx.ModelProto, setting: Setting, inputs: dict[str, Tensor], outputs: dict[str, Tensor]
) -> NodePlaces:
    wanted = require_provider(setting)
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, setting, profile_prefix=str(Path(folder) / "profile"))
        bind(session, inputs, outputs).run()
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    nodes = [node for node in nodes if node["provider"]]
    strays = Counter(node["op_name"] for node in nodes if node["provider"] != wanted)
    return NodePlaces(
        by_provider=dict(Counter(node["provider"] for node in nodes)),
        strays=dict(strays),
        copies=sum(node["op_name"].startswith("Memcpy") for node in nodes),
    )


def provider_library() -> Path | None:
    library = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    return library if library.exists() else None


def version() -> str:
    return str(onnxruntime.__version__)


def providers() -> list[str]:
    return list(onnxruntime.get_available_providers())
