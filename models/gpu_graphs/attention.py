"""Attention over slabs of keys and values, in the forms that devices take. Queries, keys and values come packed.

GROUPED normalises, rotates, appends and attends in one operator; it has no float32 kernel on CUDA, takes several steps
for one row only, and with norms inside it has no kernel on a CPU. CAUSAL is written out, and runs everywhere. MASKED is
TensorRT's: a mask says what a step sees, since lengths and causal flags are dropped there without a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from onnx import TensorProto

from models.gpu_graphs.building import MICROSOFT, DeviceGraph


class Attend(Enum):
    GROUPED = "GroupQueryAttention"
    CAUSAL = "Attention"
    MASKED = "Attention under a mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float  # of the norms of queries and keys

    @property
    def sizes(self) -> list[int]:
        return [self.heads * self.head_dim, self.kv_heads * self.head_dim, self.kv_heads * self.head_dim]


class Places:
    """Where the steps of each row lie: `lengths` [B] int32 are held before, `steps` come, then a row holds at most
    `most`. Where `grows`, all rows hold the same and memory is as long as what is held, for MASKED alone."""

    def __init__(
        self,
        graph: DeviceGraph,
        name: str,
        lengths: str,
        steps: int,
        most: int,
        rotary: tuple[str, str],
        *,
        grows: bool = False,
    ) -> None:
        self.graph, self.name, self.lengths = graph, name, lengths
        self.steps, self.most, self.rotary, self.grows = steps, most, rotary, grows
        self._written: tuple[str, str] | None = None
        self._held: str | None = None
        self._mask: str | None = None

    def written(self) -> tuple[str, str]:
        """Written out: where a row's first step is written [B], its steps' positions [B, S]."""
        if self._written is None:
            graph, name = self.graph, self.name
            at = graph.cast(self.lengths, TensorProto.INT64, f"{name}.write_at")
            ramp = graph.constant(f"steps.{self.steps}", np.arange(self.steps))
            positions = graph.node("Add", [graph.reshape(at, [-1, 1], f"{name}.rows"), ramp], f"{name}.positions")
            self._written = at, positions
        return self._written

    def held(self) -> str:
        """For CAUSAL: what a row holds with its steps [B]."""
        if self._held is None:
            count = self.graph.constant(f"count.{self.steps}", np.array([self.steps]))
            self._held = self.graph.node("Add", [self.written()[0], count], f"{self.name}.held")
        return self._held

    def mask(self) -> str:
        """For MASKED: what a step sees, [B, 1, S, most], or the same for every row; "" is all of it."""
        if self._mask is None:
            graph, columns = self.graph, np.arange(self.most)
            if self.grows:
                seen = columns <= columns[self.most - self.steps :, None]
                self._mask = "" if seen.all() else graph.constant(f"mask.{self.steps}.{self.most}", seen[None, None])
            else:
                rows = graph.reshape(self.written()[1], [-1, 1, self.steps, 1], f"{self.name}.position_rows")
                every = graph.constant(f"columns.{self.most}", columns)
                self._mask = graph.node("LessOrEqual", [every, rows], f"{self.name}.mask")
        return self._mask


def attention(
    graph: DeviceGraph,
    heads: Heads,
    places: Places,
    packed: str,
    norms: tuple[str, str],
    past: tuple[str, str],
    present: tuple[str, str],
    at: str,
    form: Attend,
) -> str:
    """packed [B * S, (H + 2 KV) D] -> [B * S, H D]. `norms`: weights of queries' and keys'."""
    width, steps = heads.heads * heads.head_dim, places.steps
    if form is Attend.GROUPED:
        by_step = graph.reshape(packed, [-1, steps, sum(heads.sizes)], f"{at}.packed_steps")
        total = graph.constant(f"total.{places.most}", np.array([places.most], np.int32))
        lengths = places.lengths if steps == 1 else f"{places.name}.newest"
        mixed = graph.node(
            "GroupQueryAttention",
            [by_step, "", "", *past, lengths, total, *places.rotary, *[""] * 5, *norms],
            [f"{at}.mixed", *present],
            domain=MICROSOFT,
            num_heads=heads.heads,
            kv_num_heads=heads.kv_heads,
            do_rotary=1,
            qk_norm_epsilon=heads.epsilon,
        )
        return graph.reshape(mixed, [-1, width], f"{at}.mixed_rows")
    write_at, positions = places.written()
    parts = [f"{at}.{kind}" for kind in "qkv"]
    graph.node("Split", [packed, graph.constant(f"sizes.{at}", np.array(heads.sizes))], parts, axis=-1)
    by_head = []
    for part, count, norm in zip(parts, (heads.heads, heads.kv_heads, heads.kv_heads), (*norms, ""), strict=True):
        split = graph.reshape(part, [-1, steps, count, heads.head_dim], f"{part}.steps")
        if norm:
            split = graph.rms_norm(split, norm, f"{part}.normed", heads.epsilon)
        turned = graph.node("Transpose", [split], f"{part}.heads", perm=[0, 2, 1, 3])
        if norm:
            turned = graph.node("RotaryEmbedding", [turned, *places.rotary, positions], f"{part}.rotated")
        by_head.append(turned)
    for old, new, added in zip(past, present, by_head[1:], strict=True):
        if places.grows:
            graph.node("Concat", [old, added] if old else [added], new, axis=2)
        else:
            graph.node("TensorScatter", [old, added, write_at], new, axis=-2, mode="linear")
    if form is Attend.MASKED:
        seen = [places.mask()] if places.mask() else []
        mixed = graph.node("Attention", [by_head[0], *present, *seen], f"{at}.mixed_heads")
    else:
        mixed = graph.node(
            "Attention", [by_head[0], *present, "", "", "", places.held()], f"{at}.mixed_heads", is_causal=1
        )
    along = graph.node("Transpose", [mixed], f"{at}.mixed", perm=[0, 2, 1, 3])
    return graph.reshape(along, [-1, width], f"{at}.mixed_rows")
