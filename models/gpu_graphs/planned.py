"""A graph as TensorRT builds a plan of it, whatever the family."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from engines.runtime.tensorrt import Part
from engines.runtime.tensorrt_build import Range

MOST_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A graph in standard operators, the lengths of its free axes by profile, and the parts that its plan plays."""

    model: onnx.ModelProto
    profiles: tuple[dict[str, Range], ...]
    parts: dict[str, Part]
    decomposable: bool = False  # attention may become several kernels where TensorRT has none for it

    @property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Of inputs and outputs."""
        return self._shapes_of([*self.model.graph.input, *self.model.graph.output])

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        return self._shapes_of(self.model.graph.input)

    @staticmethod
    def _shapes_of(ends: list[onnx.ValueInfoProto]) -> dict[str, tuple[int | str, ...]]:
        return {one.name: tuple(d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim) for one in ends}
