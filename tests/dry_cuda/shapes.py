"""Weights of Qwen3-TTS's published shapes without values: layers share theirs, since only shapes choose kernels."""

from __future__ import annotations

import numpy as np

from models.gpu_graphs.attention import Heads
from models.gpu_graphs.qwen3_weights import BlockWeights, LayerWeights, Qwen3Weights

_IDS = 64  # of the text table; how many there are chooses no kernel


def published(width: int = 1024, ff: int = 3072, layers: int = 28, codebooks: int = 16) -> Qwen3Weights:
    """The 0.6B shape."""
    codes, vocabulary, positions = 2048, 3072, 2048
    talker, predictor = _blocks(width, ff, layers), _blocks(1024, 3072, 5)
    starts = np.concatenate([[0], vocabulary + np.arange(codebooks - 1) * codes])
    table = _zeros(int(starts[-1]) + codes + 1, width)
    projection = None if width == 1024 else (_zeros(width, 1024), _zeros(1024))
    return Qwen3Weights(
        talker=talker,
        predictor=predictor,
        text_table=_zeros(_IDS, width),
        frame_table=table,
        codec_head=_zeros(width, vocabulary),
        inner_table=_zeros(len(table), 1024),
        inner_heads=(_zeros(1024, codes),) * (codebooks - 1),
        projection=projection,
        cosine=_zeros(positions, 64),
        sine=_zeros(positions, 64),
        inner_cosine=_zeros(codebooks, 64),
        inner_sine=_zeros(codebooks, 64),
        refusals=np.zeros((2, vocabulary), np.float32),
        starts=starts,
        most_likely=64,
    )


def _blocks(width: int, ff: int, layers: int) -> BlockWeights:
    heads = Heads(heads=16, kv_heads=8, head_dim=128, epsilon=1e-6)
    layer = LayerWeights(
        packed=_zeros(width, 32 * 128),
        query_norm=_zeros(128),
        key_norm=_zeros(128),
        out=_zeros(16 * 128, width),
        mlp_norm=_zeros(width),
        gate=_zeros(width, ff),
        up=_zeros(width, ff),
        down=_zeros(ff, width),
        next_norm=_zeros(width),
    )
    return BlockWeights(norm_in=_zeros(width), layers=(layer,) * layers, heads=heads, epsilon=1e-6)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
