"""What the right answer is: attention and the decoder in numpy, float64, over whole sequences, without any cache.

Shares no arithmetic with the code that it judges.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from loadtests.gpu.decoder import Decoder

Array = NDArray[Any]


def attention64(query: Array, key: Array, value: Array, allowed: Array) -> Array:
    """query [H, S, D], key and value [Hk, T, D], allowed bool [S, T] -> [H, S, D]; a row without any column is zero."""
    group = query.shape[0] // key.shape[0]
    result = np.zeros(query.shape)
    for head in range(query.shape[0]):
        columns, rows = key[head // group].astype(np.float64), query[head].astype(np.float64)
        for token in range(query.shape[1]):
            chosen = np.flatnonzero(allowed[token])
            if chosen.size == 0:
                continue
            scores = columns[chosen] @ rows[token] / math.sqrt(query.shape[2])
            weights = np.exp(scores - scores.max())
            result[head, token] = weights / weights.sum() @ value[head // group][chosen].astype(np.float64)
    return result


def decoder64(decoder: Decoder, x: Array) -> Array:
    """x [T, hidden], one sequence from position 0 -> normed hidden states [T, hidden]."""
    shape = decoder.shape
    tokens = x.shape[0]
    allowed = np.tril(np.ones((tokens, tokens), dtype=bool))
    half = shape.head_dim // 2
    angle = np.arange(tokens)[:, None] * shape.rope_theta ** -(np.arange(half) / half)
    turn = np.exp(1j * angle)[:, None]

    def rotated(vectors: Array) -> Array:
        """vectors [T, heads, D]: halves as the two parts of a complex number, turned by the position's angle."""
        turned = (vectors[..., :half] + 1j * vectors[..., half:]) * turn
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def normed(vectors: Array, weight: Array) -> Array:
        return vectors / np.sqrt((vectors**2).mean(axis=-1, keepdims=True) + shape.norm_epsilon) * weight

    for weights in decoder.layers:
        norm1, qkv, head_norms, out, norm2, gate_up, down = (_wide(tensor) for tensor in weights)
        heads = (normed(x, norm1) @ qkv.T).reshape(tokens, -1, shape.head_dim)
        query = rotated(normed(heads[:, : shape.heads], head_norms[0]))
        key = rotated(normed(heads[:, shape.heads : shape.heads + shape.kv_heads], head_norms[shape.heads]))
        value = heads[:, shape.heads + shape.kv_heads :]
        seen = attention64(query.transpose(1, 0, 2), key.transpose(1, 0, 2), value.transpose(1, 0, 2), allowed)
        x = x + seen.transpose(1, 0, 2).reshape(tokens, -1) @ out.T
        gate, up = np.split(normed(x, norm2) @ gate_up.T, 2, axis=1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ down.T
    return normed(x, _wide(decoder.final_norm))


def relative_error(got: Array, wanted: Array) -> float:
    """Largest difference over the largest magnitude; infinite where a value is not a number."""
    if not np.isfinite(got).all():
        return math.inf
    return float(np.abs(got.astype(np.float64) - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))


def _wide(tensor: Any) -> Array:
    wide: Array = tensor.double().cpu().numpy()
    return wide
