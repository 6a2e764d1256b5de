"""Graphs of one model beside one file of weights: what several have, it holds once.

The runtime maps the file, so in memory too the graphs have one copy of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto

WEIGHTS = "weights.bin"
_LEAST_BYTES = 1024  # shape constants must lie in the graph, where the runtime folds them
_ALIGNED = 64


def save_sharing(
    graphs: Mapping[str, onnx.ModelProto], folder: Path, weights: str = WEIGHTS
) -> dict[str, list[tuple[TensorProto, int]]]:
    """Writes NAME.onnx of each and one file of weights. The graphs given are not changed. -> what lies in the file, by
    graph: each tensor without its values, and its first byte there."""
    places: dict[bytes, tuple[int, int]] = {}
    listed: dict[str, list[tuple[TensorProto, int]]] = {}
    with (folder / weights).open("wb") as file:
        for name, given in graphs.items():
            graph, listed[name] = onnx.ModelProto(), []
            graph.CopyFrom(given)
            for tensor in graph.graph.initializer:
                raw = tensor.raw_data
                if len(raw) < _LEAST_BYTES:
                    continue
                digest = hashlib.sha256(raw).digest()
                if digest not in places:
                    file.write(bytes(-file.tell() % _ALIGNED))
                    places[digest] = file.tell(), len(raw)
                    file.write(raw)
                _point(tensor, weights, *places[digest])
                listed[name].append((tensor, places[digest][0]))
            onnx.save(graph, folder / f"{name}.onnx")
    return listed


def _point(tensor: TensorProto, weights: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", weights), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
