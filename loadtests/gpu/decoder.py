"""A Qwen3 decoder with a slot cache in place, in torch: weights, cache, where a step writes and what it sees.

The arithmetic of a layer lives in `layers`; its plain and fused forms take the same weights. Nothing here reads a
value back from the device, so a step can be captured: positions are tensors, and a replay advances by changing them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from loadtests.gpu.shapes import DecoderShape


class LayerWeights(NamedTuple):
    """Matrices as [out, in]; the merged ones hold their parts one below the other."""

    input_norm: Tensor  # [hidden]
    qkv: Tensor  # [(H + 2 Hk) D, hidden]
    head_norms: Tensor  # [H + Hk, D]: the query norm H times, then the key norm Hk times
    out: Tensor  # [hidden, H D]
    mlp_norm: Tensor  # [hidden]
    gate_up: Tensor  # [2 intermediate, hidden]
    down: Tensor  # [hidden, intermediate]


class Place(NamedTuple):
    """Where a step of S new tokens per row writes its keys, and what each token may see."""

    rows: Tensor  # int64 [B S], rows of the cache
    cosine: Tensor  # [B or 1, S, 1, D]
    sine: Tensor  # [B or 1, S, 1, D], the first half of D negated
    mask: Tensor | None  # [B or 1, 1, S, visible], 0 or -inf; None: every visible column
    group_mask: Tensor | None  # the same for each query head of a group: [B or 1, 1, G S, visible]
    visible: int  # cache columns that are read


class Cache(NamedTuple):
    """Per layer [B T, Hk, D]. Columns beyond a row's length hold leftovers that nobody sees.

    Flat, so that a compiler sees an in-place write to an argument and not to a view of one.
    """

    keys: list[Tensor]
    values: list[Tensor]


# x [B, S, hidden], weights, shape, place, keys and values [B T, Hk, D] (written in place) -> [B, S, hidden]
RunLayer = Callable[[Tensor, LayerWeights, DecoderShape, Place, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Decoder:
    shape: DecoderShape
    layers: list[LayerWeights]
    final_norm: Tensor  # [hidden]
    cosine: Tensor  # [positions, D]
    sine: Tensor  # [positions, D], the first half of D negated


def random_decoder(
    shape: DecoderShape, device: str, dtype: torch.dtype, positions: int, generator: torch.Generator
) -> Decoder:
    def matrix(rows: int, columns: int) -> Tensor:
        return random_matrix(rows, columns, device, dtype, generator)

    def norm(width: int) -> Tensor:
        noise = torch.randn(width, device=device, dtype=torch.float32, generator=generator)
        return (1 + 0.1 * noise).to(dtype)

    heads, kv_heads, depth = shape.heads, shape.kv_heads, shape.head_dim
    layers = []
    for _ in range(shape.layers):
        query_norm, key_norm = norm(depth), norm(depth)
        layers.append(
            LayerWeights(
                input_norm=norm(shape.hidden),
                qkv=matrix((heads + 2 * kv_heads) * depth, shape.hidden),
                head_norms=torch.cat([query_norm.expand(heads, depth), key_norm.expand(kv_heads, depth)]).contiguous(),
                out=matrix(shape.hidden, heads * depth),
                mlp_norm=norm(shape.hidden),
                gate_up=matrix(2 * shape.intermediate, shape.hidden),
                down=matrix(shape.hidden, shape.intermediate),
            )
        )
    cosine, sine = _rotary_tables(shape, positions, device)
    return Decoder(shape, layers, norm(shape.hidden), cosine.to(dtype), sine.to(dtype))


def random_matrix(rows: int, columns: int, device: str, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    noise = torch.randn(rows, columns, device=device, dtype=torch.float32, generator=generator)
    return (noise / math.sqrt(columns)).to(dtype)


def _rotary_tables(shape: DecoderShape, positions: int, device: str) -> tuple[Tensor, Tensor]:
    half = shape.head_dim // 2
    exponent = torch.arange(half, dtype=torch.float64) / half
    angle = torch.arange(positions, dtype=torch.float64)[:, None] * shape.rope_theta**-exponent
    cosine = torch.cat([angle.cos(), angle.cos()], dim=1)
    sine = torch.cat([-angle.sin(), angle.sin()], dim=1)
    return cosine.to(device), sine.to(device)


def new_cache(shape: DecoderShape, rows: int, columns: int, device: str, dtype: torch.dtype) -> Cache:
    def slabs() -> list[Tensor]:
        size = (rows * columns, shape.kv_heads, shape.head_dim)
        return [torch.zeros(size, device=device, dtype=dtype) for _ in range(shape.layers)]

    return Cache(slabs(), slabs())


def place_at(decoder: Decoder, positions: Tensor, columns: int) -> Place:
    """positions int64 [B, S], a different start in each row; every token sees its own row up to itself."""
    rows, tokens = positions.shape
    starts = torch.arange(rows, device=positions.device)[:, None] * columns
    seen = torch.arange(columns, device=positions.device) <= positions[:, :, None]
    mask = _additive(seen, decoder.cosine.dtype)[:, None]
    flat = positions.flatten()
    return Place(
        rows=(starts + positions).flatten(),
        cosine=decoder.cosine.index_select(0, flat).view(rows, tokens, 1, -1),
        sine=decoder.sine.index_select(0, flat).view(rows, tokens, 1, -1),
        mask=mask,
        group_mask=mask.repeat(1, 1, decoder.shape.group, 1),
        visible=columns,
    )


def place_alike(decoder: Decoder, start: int, tokens: int, rows: int, columns: int, is_sliced: bool) -> Place:
    """The same positions in every row, known before any run.

    `is_sliced`: only the columns that exist are read, so one token needs no mask. Else all are, under a mask.
    """
    visible = start + tokens if is_sliced else columns
    device = decoder.cosine.device
    positions = torch.arange(start, start + tokens, device=device)
    starts = torch.arange(rows, device=device)[:, None] * columns
    mask = None
    if tokens > 1 or not is_sliced:
        seen = torch.arange(visible, device=device) <= positions[:, None]
        mask = _additive(seen, decoder.cosine.dtype)[None, None]
    return Place(
        rows=(starts + positions).flatten(),
        cosine=decoder.cosine[positions][None, :, None],
        sine=decoder.sine[positions][None, :, None],
        mask=mask,
        group_mask=None if mask is None else mask.repeat(1, 1, decoder.shape.group, 1),
        visible=visible,
    )


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where seen, -inf elsewhere, by operators that a capture allows."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, -torch.inf)


def decode(decoder: Decoder, run_layer: RunLayer, x: Tensor, place: Place, cache: Cache) -> Tensor:
    """x [B, S, hidden] -> normed hidden states [B, S, hidden]; writes the cache at the place."""
    for weights, keys, values in zip(decoder.layers, cache.keys, cache.values):
        x = run_layer(x, weights, decoder.shape, place, keys, values)
    return F.rms_norm(x, (decoder.shape.hidden,), decoder.final_norm, decoder.shape.norm_epsilon)
