"""Part 8: the same decoder layers in torch, captured in one CUDA graph a frame: the yardstick of part 7.

Plain operators, so what a reader of torch would write first. A frame is a talker's step, fifteen predictor steps and
sixteen picks; embeddings and heads are in it, the vocoder is not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.gpu_check.report import Table
from tests.gpu_check.setting import Setting, Skipped
from tests.gpu_check.shapes import PREDICTOR, PREDICTOR_STEPS, TALKERS, TINY, DecoderShape

BATCHES = (1, 4, 16, 64, 128)
COLUMNS = 512


def run_frames(setting: Setting, table: Table) -> None:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise Skipped("torch is not installed") from error
    device = setting.torch_device(torch)
    talkers, batches, predictor = (TALKERS, BATCHES, PREDICTOR) if device == "cuda" else ((TINY,), (1, 2), TINY)
    for talker in talkers:
        for rows in batches:
            if not setting.has_time(20):
                table.note(f"out of time before {talker.name}, {rows} rows")
                return
            frame = Frame(torch, talker, predictor, rows, COLUMNS, device, torch.bfloat16)
            frame.run()  # a fault here says more than one in a capture
            call = _captured(torch, frame.run) if device == "cuda" else frame.run
            wait = torch.cuda.synchronize if device == "cuda" else lambda: None
            table.row(model=talker.name, rows=rows, **_times(call, wait), codes=len(frame.codes[0].tolist()))


def _captured(torch: Any, call: Callable[[], None]) -> Callable[[], None]:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay  # type: ignore[no-any-return]


def _times(call: Callable[[], None], wait: Callable[[], None]) -> dict[str, float]:
    alone, host = [], []
    for _ in range(20):
        wait()
        started = time.perf_counter()
        call()
        host.append(time.perf_counter() - started)
        wait()
        alone.append(time.perf_counter() - started)
    return {
        "ms": 1e3 * statistics.median(alone), "worst_ms": 1e3 * max(alone), "host_us": 1e6 * statistics.median(host)
    }  # fmt: skip


class Frame:
    """Weights, slabs and one frame over them; nothing is read back, so that it can be captured."""

    def __init__(
        self,
        torch: Any,
        talker: DecoderShape,
        predictor: DecoderShape,
        rows: int,
        columns: int,
        device: str,
        dtype: Any,
    ) -> None:
        self._torch, self._rows = torch, rows
        make = {"device": device, "dtype": dtype}
        self._talker = Layers(torch, talker, rows, columns, make)
        self._predictor = Layers(torch, predictor, rows, PREDICTOR_STEPS + 1, make)
        self._x = torch.randn(rows, 1, talker.width, **make)
        self._inward = torch.randn(predictor.width, talker.width, **make) / talker.width**0.5
        self._head = torch.randn(talker.vocab, talker.width, **make)
        self._heads = torch.randn(PREDICTOR_STEPS, predictor.vocab, predictor.width, **make)
        self._tables = torch.randn(PREDICTOR_STEPS + 1, talker.vocab, predictor.width, **make)
        self._outward = torch.randn(talker.width, predictor.width, **make) / predictor.width**0.5
        self._at = columns * 3 // 4
        self.codes = torch.zeros(rows, PREDICTOR_STEPS + 1, dtype=torch.int64, device=device)

    def run(self) -> None:
        torch = self._torch
        linear, embed = torch.nn.functional.linear, torch.nn.functional.embedding
        hidden = self._talker.step(self._x, self._at)
        code = linear(hidden[:, 0], self._head).argmax(1)
        codes, x = [code], linear(hidden, self._inward)
        self._predictor.step(x, 0)
        total = embed(code, self._tables[0])
        for step in range(PREDICTOR_STEPS):
            inner = self._predictor.step(embed(codes[-1], self._tables[step])[:, None], step + 1)
            codes.append(linear(inner[:, 0], self._heads[step]).argmax(1))
            total = total + embed(codes[-1], self._tables[step + 1])
        self.codes.copy_(torch.stack(codes, 1))
        self._x.copy_(linear(total, self._outward)[:, None])


class Layers:
    def __init__(self, torch: Any, shape: DecoderShape, rows: int, columns: int, make: dict[str, Any]) -> None:
        self._torch, self._shape = torch, shape
        heads, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        width, inner = shape.width, shape.inner

        def matrix(outputs: int, inputs: int) -> Any:
            return torch.randn(outputs, inputs, **make) / inputs**0.5

        self._layers = [
            (matrix(heads + 2 * kv, width), matrix(width, heads), matrix(2 * inner, width), matrix(width, inner))
            for _ in range(shape.layers)
        ]
        slab = (rows, shape.kv_heads, columns, shape.head_dim)
        self._slabs = [(torch.zeros(slab, **make), torch.zeros(slab, **make)) for _ in range(shape.layers)]
        self._cosine = torch.randn(columns, shape.head_dim, **make)
        self._sine = torch.randn(columns, shape.head_dim, **make)

    def step(self, x: Any, at: int) -> Any:
        """x [B, 1, width] at one position for all rows."""
        functional, shape = self._torch.nn.functional, self._shape
        rows, group = x.shape[0], (shape.heads, shape.kv_heads, shape.kv_heads)
        sizes = [count * shape.head_dim for count in group]
        for (packed, out, gate_up, down), slabs in zip(self._layers, self._slabs, strict=True):
            h = functional.rms_norm(x, (shape.width,), eps=1e-6)
            parts = functional.linear(h, packed).split(sizes, dim=-1)
            q, k, v = (
                part.view(rows, 1, count, shape.head_dim).transpose(1, 2)
                for part, count in zip(parts, group, strict=True)
            )
            q, k = (self._turned(functional.rms_norm(one, (shape.head_dim,), eps=1e-6), at) for one in (q, k))
            for slab, new in zip(slabs, (k, v), strict=True):
                slab[:, :, at : at + 1] = new
            keys, values = (slab[:, :, : at + 1] for slab in slabs)
            mixed = functional.scaled_dot_product_attention(q, keys, values, enable_gqa=True)
            x = x + functional.linear(mixed.transpose(1, 2).reshape(rows, 1, -1), out)
            gate, up = functional.linear(functional.rms_norm(x, (shape.width,), eps=1e-6), gate_up).chunk(2, -1)
            x = x + functional.linear(functional.silu(gate) * up, down)
        return functional.rms_norm(x, (shape.width,), eps=1e-6)

    def _turned(self, one: Any, at: int) -> Any:
        half = one.shape[-1] // 2
        turned = self._torch.cat([-one[..., half:], one[..., :half]], -1)
        return one * self._cosine[at] + turned * self._sine[at]
