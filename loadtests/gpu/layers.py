"""One decoder layer, written twice: plainly, as a model file would have it, and with its small operators merged.

Both write the keys and values of the new tokens into the cache by rows and compute the same function; the tests hold
them to one float64 reference.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from loadtests.gpu.decoder import LayerWeights, Place
from loadtests.gpu.shapes import DecoderShape


def use_ready_kernels() -> None:
    """Keeps torch's attention off cuDNN, which builds a kernel for every new shape: that would fill a time box."""
    torch.backends.cuda.enable_cudnn_sdp(False)


def plain_layer(
    x: Tensor, weights: LayerWeights, shape: DecoderShape, place: Place, keys: Tensor, values: Tensor
) -> Tensor:
    """Separate projections, norms spelled out, keys and values repeated for every query head."""
    rows, tokens, _ = x.shape
    heads, kv_heads, depth = shape.heads, shape.kv_heads, shape.head_dim
    query_rows, key_rows, value_rows = weights.qkv.split([heads * depth, kv_heads * depth, kv_heads * depth])
    gate_rows, up_rows = weights.gate_up.chunk(2)
    h = _spelled_norm(x, weights.input_norm, shape.norm_epsilon)
    query = F.linear(h, query_rows).view(rows, tokens, heads, depth)
    key = F.linear(h, key_rows).view(rows, tokens, kv_heads, depth)
    value = F.linear(h, value_rows).view(rows, tokens, kv_heads, depth)
    query = _spelled_rotary(_spelled_norm(query, weights.head_norms[0], shape.norm_epsilon), place)
    key = _spelled_rotary(_spelled_norm(key, weights.head_norms[heads], shape.norm_epsilon), place)
    _write(keys, key, place)
    _write(values, value, place)
    all_keys = _visible(keys, rows, place).repeat_interleave(shape.group, dim=1)
    all_values = _visible(values, rows, place).repeat_interleave(shape.group, dim=1)
    seen = F.scaled_dot_product_attention(query.transpose(1, 2), all_keys, all_values, attn_mask=place.mask)
    x = x + F.linear(seen.transpose(1, 2).reshape(rows, tokens, heads * depth), weights.out)
    h = _spelled_norm(x, weights.mlp_norm, shape.norm_epsilon)
    return x + F.linear(F.silu(F.linear(h, gate_rows)) * F.linear(h, up_rows), weights.down)


def fused_layer(
    x: Tensor, weights: LayerWeights, shape: DecoderShape, place: Place, keys: Tensor, values: Tensor
) -> Tensor:
    """One matrix for q, k and v, one norm and rotation for q and k, one matrix for gate and up, no repeated keys."""
    return _merged_layer(x, weights, shape, place, keys, values, is_matmul=False)


def matmul_layer(
    x: Tensor, weights: LayerWeights, shape: DecoderShape, place: Place, keys: Tensor, values: Tensor
) -> Tensor:
    """As fused, with attention as two batched products around a softmax."""
    return _merged_layer(x, weights, shape, place, keys, values, is_matmul=True)


def cudnn_layer(
    x: Tensor, weights: LayerWeights, shape: DecoderShape, place: Place, keys: Tensor, values: Tensor
) -> Tensor:
    """As fused, with cuDNN's attention and no other: it raises where cuDNN has none."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return _merged_layer(x, weights, shape, place, keys, values, is_matmul=False)


def _merged_layer(
    x: Tensor,
    weights: LayerWeights,
    shape: DecoderShape,
    place: Place,
    keys: Tensor,
    values: Tensor,
    is_matmul: bool,
) -> Tensor:
    rows, tokens, _ = x.shape
    heads, kv_heads, depth, group = shape.heads, shape.kv_heads, shape.head_dim, shape.group
    h = F.rms_norm(x, (shape.hidden,), weights.input_norm, shape.norm_epsilon)
    merged = F.linear(h, weights.qkv).view(rows, tokens, heads + 2 * kv_heads, depth)
    turned = F.rms_norm(merged[:, :, : heads + kv_heads], (depth,), None, shape.norm_epsilon) * weights.head_norms
    turned = torch.addcmul(turned * place.cosine, turned.roll(depth // 2, dims=-1), place.sine)
    _write(keys, turned[:, :, heads:], place)
    _write(values, merged[:, :, heads + kv_heads :], place)
    # The query heads of a group become tokens of their one key head: [B, Hk, G S, D].
    query = turned[:, :, :heads].view(rows, tokens, kv_heads, group, depth).permute(0, 2, 3, 1, 4)
    query = query.reshape(rows, kv_heads, group * tokens, depth)
    all_keys = _visible(keys, rows, place)
    all_values = _visible(values, rows, place)
    if is_matmul:
        scores = _widened(torch.matmul(query * depth**-0.5, all_keys.transpose(2, 3)))
        if place.group_mask is not None:
            scores = scores + place.group_mask
        seen = torch.matmul(scores.softmax(dim=-1).to(query.dtype), all_values)
    else:
        mask = place.group_mask
        if mask is not None:
            mask = mask.expand(rows, kv_heads, -1, -1)
        seen = F.scaled_dot_product_attention(query, all_keys, all_values, attn_mask=mask)
    seen = seen.view(rows, kv_heads, group, tokens, depth).permute(0, 3, 1, 2, 4).reshape(rows, tokens, heads * depth)
    x = x + F.linear(seen, weights.out)
    h = F.rms_norm(x, (shape.hidden,), weights.mlp_norm, shape.norm_epsilon)
    gate, up = F.linear(h, weights.gate_up).chunk(2, dim=-1)
    return x + F.linear(F.silu(gate) * up, weights.down)


def _write(cache: Tensor, fresh: Tensor, place: Place) -> None:
    """fresh [B, S, Hk, D] into cache [B T, Hk, D]: in place, at rows that a tensor names."""
    cache.index_copy_(0, place.rows, fresh.reshape(-1, cache.shape[1], cache.shape[2]))


def _visible(cache: Tensor, rows: int, place: Place) -> Tensor:
    """cache [B T, Hk, D] -> a view [B, Hk, visible, D]."""
    return cache.view(rows, -1, cache.shape[1], cache.shape[2])[:, : place.visible].transpose(1, 2)


def _widened(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _spelled_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = _widened(x)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * wide.to(x.dtype)


def _spelled_rotary(x: Tensor, place: Place) -> Tensor:
    half = x.shape[-1] // 2
    return x * place.cosine + torch.cat([x[..., half:], x[..., :half]], dim=-1) * place.sine
