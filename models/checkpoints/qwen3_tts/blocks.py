"""Transformer blocks that the talker, the code predictor and the codec's decoder share. Names are the checkpoint's.

Keys and values of earlier positions are an argument and a result: a list of (keys, values) [B, H, P, D] by layer.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]


class RmsNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def rotary_table(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [P, head_dim], both halves alike."""
    frequencies = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim)
    angles = positions.float()[:, None] * frequencies
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x [..., P, D]: the first half of D turns with the second."""
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int, norm_eps: float | None) -> None:
        """`norm_eps` of the norms of queries and keys, or None where there are none."""
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)
        self.q_norm = nn.Identity() if norm_eps is None else RmsNorm(head_dim, norm_eps)
        self.k_norm = nn.Identity() if norm_eps is None else RmsNorm(head_dim, norm_eps)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor] | None, window: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [B, S, width] behind `past` -> [B, S, width] and keys and values of both."""
        b, s, _ = x.shape
        query = rotate(self.q_norm(self.q_proj(x).view(b, s, self.heads, self.head_dim)).transpose(1, 2), *rotation)
        key = rotate(self.k_norm(self.k_proj(x).view(b, s, self.kv_heads, self.head_dim)).transpose(1, 2), *rotation)
        value = self.v_proj(x).view(b, s, self.kv_heads, self.head_dim).transpose(1, 2)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        group = self.heads // self.kv_heads
        scores = query @ key.repeat_interleave(group, dim=1).transpose(2, 3) * self.head_dim**-0.5
        total = key.shape[2]
        behind = torch.arange(total - s, total)[:, None] - torch.arange(total)
        seen = (behind >= 0) & (behind < (window or total))
        mixed = F.softmax(scores.masked_fill(~seen, float("-inf")), dim=-1) @ value.repeat_interleave(group, dim=1)
        return self.o_proj(mixed.transpose(1, 2).reshape(b, s, -1)), (key, value)


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LayerScale(nn.Module):
    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


class Block(nn.Module):
    """Pre-norm attention and MLP, each behind a layer scale where `scale` gives its first value."""

    def __init__(self, attention: Attention, mlp: Mlp, width: int, eps: float, scale: float | None = None) -> None:
        super().__init__()
        self.self_attn, self.mlp = attention, mlp
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(width, eps), RmsNorm(width, eps)
        self.self_attn_layer_scale = nn.Identity() if scale is None else LayerScale(width, scale)
        self.mlp_layer_scale = nn.Identity() if scale is None else LayerScale(width, scale)

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], past: tuple[Tensor, Tensor] | None, window: int | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        mixed, kept = self.self_attn(self.input_layernorm(x), rotation, past, window)
        x = x + self.self_attn_layer_scale(mixed)
        return x + self.mlp_layer_scale(self.mlp(self.post_attention_layernorm(x))), kept


def run_blocks(
    layers: nn.ModuleList, x: Tensor, head_dim: int, theta: float, past: Cache | None, window: int | None = None
) -> tuple[Tensor, Cache]:
    begun = past[0][0].shape[2] if past else 0
    rotation = rotary_table(torch.arange(begun, begun + x.shape[1]), head_dim, theta)
    kept: Cache = []
    for number, layer in enumerate(layers):
        x, both = layer(x, rotation, past[number] if past else None, window)
        kept.append(both)
    return x, kept
