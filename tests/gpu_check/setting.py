"""Where a step runs: on a GPU, or on the pretended one with small shapes; and the time that is left of its box."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engines.errors import ParlandoError
from engines.runtime.cuda_session import has_provider
from engines.runtime.device import CudaDevice

PRETENDED = "DRY_CUDA" in os.environ  # `make test-gpu-dry` sets it
IS_REHEARSAL = "GPU_CHECK_REHEARSAL" in os.environ


class Skipped(Exception):
    """A step has nothing to run here; the message says why."""


@dataclass(frozen=True)
class Setting:
    deadline_s: float  # on the clock of time.monotonic

    @cached_property
    def device(self) -> CudaDevice:
        """Raises Skipped where there is none."""
        if not has_provider():
            raise Skipped(
                "this onnxruntime has no CUDA provider: pip install -r requirements/cuda.txt in an environment"
            )
        try:
            return CudaDevice()
        except ParlandoError as error:
            raise Skipped(f"no CUDA device: {error}") from error

    def timed_device(self) -> CudaDevice:
        """For what a pretended device cannot tell: times. A rehearsal runs all lines there on small shapes."""
        if PRETENDED and not IS_REHEARSAL:
            raise Skipped("the device is pretended: it has no times")
        return self.device

    def torch_device(self, torch: Any) -> str:
        """Of the parts that torch runs. A rehearsal takes the CPU, without capture and on small shapes."""
        if IS_REHEARSAL and not torch.cuda.is_available():
            return "cpu"
        self.timed_device()
        if not torch.cuda.is_available():
            raise Skipped(f"torch {torch.__version__} sees no CUDA device")
        return "cuda"

    def has_time(self, seconds: float) -> bool:
        """Whether a row that takes this long still fits: rows are dropped in order, not the step."""
        return self.deadline_s - time.monotonic() > seconds
