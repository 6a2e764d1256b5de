"""An emulated GPU: the real provider binds, captures and replays, and the CPU provider computes each replay.

When a call is captured, the same ONNX file is bound on the CPU provider to the very addresses of the capture. A replay
runs it when the pretended stream does, at a wait: results that are read before, memory that is written too early and
addresses that are not those of the capture show as they would on a device. Kernels and their arithmetic do not.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.runtime import onnx_cuda
from engines.runtime.onnx_cuda import CudaBuffer, CudaCall
from engines.runtime.ort import ort

_REPLAY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


class Emulation:
    """Installed once in a process, before any call is prepared."""

    def __init__(self) -> None:
        self._cudart = ctypes.CDLL("libcudart.so.13")
        self._sessions: dict[Path, Any] = {}
        self._replays: dict[int, Callable[[], None]] = {}
        self._callback = _REPLAY(self._replay)  # kept: the library calls it
        self.failures: list[BaseException] = []
        self.by_shape = False  # results depend on the shape of their call, as a device's may
        self._prepare = CudaCall.prepare
        onnx_cuda.CudaCall.prepare = lambda call: self._prepared(call)  # type: ignore[method-assign]
        self._cudart.drycuda_on_replay(self._callback)

    def _prepared(self, call: CudaCall) -> None:
        """A first run is two eager ones, a capture and a replay: what it updates in place advances three times."""
        self._prepare(call)
        replay = self._on_the_host(call)
        for _ in range(3):
            replay()
        self._replays[self._cudart.drycuda_last_executable()] = replay

    def _on_the_host(self, call: CudaCall) -> Callable[[], None]:
        session = self._session(call.graph.path)
        binding = session.io_binding()

        def place(one: Any, put: Callable[..., None]) -> None:
            buffer: CudaBuffer = call.buffers[one.name]
            element = onnx_cuda._ELEMENTS[buffer.kind]
            put(one.name, "cpu", 0, element, list(buffer.shape), buffer.address)

        for one in session.get_inputs():
            place(one, binding.bind_input)
        for one in session.get_outputs():
            place(one, binding.bind_output)

        def run() -> None:
            session.run_with_iobinding(binding)
            if self.by_shape:
                self._turn(call)

        return run

    def _turn(self, call: CudaCall) -> None:
        """Another frame, and samples that differ in their last bits, for each shape. Frames of verify-5 over four rows,
        the one shape of the tests' deterministic engine, stay: its drafts are to be right."""
        for one in call.graph.outputs:
            if one.name not in ("frames", "samples", "pcm"):
                continue
            buffer = call.buffers[one.name]
            rows, size = buffer.shape[0].bit_length(), int(np.prod(buffer.shape))
            if one.dtype == "float32" and one.name != "frames":
                held = (ctypes.c_float * size).from_address(buffer.address)
                np.frombuffer(held, np.float32)[:] *= np.float32(1 + 2e-5 * rows)
            elif call.graph.name.startswith(("decode", "verify")):
                steps = buffer.shape[1] if len(buffer.shape) > 1 else 1
                turned = np.frombuffer((ctypes.c_int64 * size).from_address(buffer.address), np.int64)
                turned[:] ^= (rows ^ 3) | (steps ^ 5)

    def _session(self, path: Path) -> Any:
        if path not in self._sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            self._sessions[path] = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return self._sessions[path]

    def _replay(self, executable: int) -> int:
        """Whether it is one of ours."""
        try:
            self._replays.get(executable, lambda: None)()
        except BaseException as error:  # an exception cannot cross the library
            self.failures.append(error)
        return int(executable in self._replays)
