"""A device form on the CPU, for its goldens: the runtime's CPU provider behind what a device needs besides."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from engines.families.common.device_form import FORMAT, DeviceForm, Goldens
from engines.runtime.base import Buffer, Call
from engines.runtime.kernels import OFF
from engines.runtime.onnx_cpu import OnnxCpu
from models.gpu_graphs.writing import save


class HostDevice(OnnxCpu):
    """Its calls need no capture, and all of its memory is the host's."""

    deterministic = False

    def __init__(self) -> None:
        super().__init__(1, OFF)

    def buffer(self, shape: tuple[int, ...], dtype: str, *, shared: bool = False) -> Buffer:  # type: ignore[override]
        return super().buffer(shape, dtype)

    def copy(self, source: Buffer, to: Buffer) -> None:
        """A call has ended when it was launched: there is no queue."""
        to.write(source.read())

    def prepare(self, *calls: Call) -> None:
        """Nothing to capture."""

    def clear(self, *calls: Call) -> None:
        """Buffers are not reused."""


def goldens(
    graphs: dict[str, onnx.ModelProto], spoken: Callable[[DeviceForm, HostDevice], Goldens], **numbers: Any
) -> Goldens:
    """What float32 graphs give."""
    with tempfile.TemporaryDirectory() as folder:
        save(graphs, Path(folder))
        form = DeviceForm(format=FORMAT, bundle="", dtype="float32", files={}, folder=Path(folder), **numbers)
        return spoken(form, HostDevice())
