"""Constants of several graphs in one file, written as they come: an export holds no network twice in memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import torch
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

_SMALL = 1024  # bytes: what shapes and axes take stays in the graph
_KINDS = {torch.bfloat16: TensorProto.BFLOAT16, torch.float32: TensorProto.FLOAT, torch.int8: TensorProto.INT8}


class WeightFile:
    """`tensor` gives the constant of a name; a second graph that asks for the name shares its bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._places = path, dict[str, tuple[torch.dtype, tuple[int, ...], int, int]]()
        self._file = path.open("wb")

    def __enter__(self) -> WeightFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def tensor(self, name: str, value: torch.Tensor) -> TensorProto:
        value = value.detach()
        found = TensorProto(name=name, data_type=_KINDS[value.dtype], dims=value.shape)
        if value.numel() * value.itemsize < _SMALL:
            found.raw_data = _bytes(value)
            return found
        if name not in self._places:
            self._file.write(b"\0" * (-self._file.tell() % 64))
            start = self._file.tell()
            # A large table in slices: its bytes are another copy of it.
            for part in value.split(max(1, (64 << 20) // max(1, value[0].numel() * value.itemsize))):
                self._file.write(_bytes(part))
            self._places[name] = value.dtype, tuple(value.shape), start, self._file.tell() - start
        dtype, shape, start, count = self._places[name]
        assert (dtype, shape) == (value.dtype, tuple(value.shape)), f"{name} is two different constants"
        found.raw_data = b"\0"  # what the helper wants to see before it moves the tensor out
        set_external_data(found, self._path.name, start, count)
        found.ClearField("raw_data")
        return found


def _bytes(value: torch.Tensor) -> bytes:
    return value.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
