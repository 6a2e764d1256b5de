"""Sampling on the host. What a row samples depends on its own logits, history, seed and position alone.

In this order: repetition penalty, suppressed codes, temperature, top-k, top-p, then the largest of logits + Gumbel
noise, which samples their softmax. Noise is drawn for every code, so a filter changes no other code's draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.families.base import BoolArray, Sampling
from engines.families.common.randomness import gumbel
from engines.runtime.base import FloatArray, IntArray

MIN_TEMPERATURE = 1e-3  # below it logits over temperature leave float32: greedy is what it means
_NONE: tuple[int, ...] = ()


def sample(
    logits: FloatArray,
    sampling: Sequence[Sampling],
    keys: IntArray,
    history: Sequence[Sequence[int]] | None = None,
    forbidden: Sequence[Sequence[int]] | None = None,
) -> tuple[IntArray, BoolArray]:
    """logits [B, V], keys [B, 2] = (seed, position), history (codes of the segment so far) and forbidden (besides the
    suppressed ones: an end that may not come yet) by row -> codes [B], is_finite [B]."""
    codes = logits.argmax(axis=1)
    is_finite = np.isfinite(logits[np.arange(len(logits)), codes])  # argmax stops at the first NaN: it tells all
    for row, how in enumerate(sampling):
        banned = (*how.suppressed, *(forbidden[row] if forbidden else _NONE))
        if is_finite[row] and (how.temperature >= MIN_TEMPERATURE or banned or how.repetition_penalty != 1.0):
            seed, position = keys[row].tolist()
            codes[row] = _sampled(logits[row], how, seed, position, history[row] if history else _NONE, banned)
    return codes, is_finite


def _sampled(
    logits: FloatArray, how: Sampling, seed: int, position: int, history: Sequence[int], banned: Sequence[int]
) -> int:
    """logits [V] -> code"""
    if how.repetition_penalty != 1.0 and len(history):
        logits = logits.copy()
        generated = np.unique(np.asarray(history, np.int64))
        penalty = np.float32(how.repetition_penalty)
        logits[generated] = np.where(logits[generated] > 0, logits[generated] / penalty, logits[generated] * penalty)
    if banned:
        logits = logits.copy()
        logits[list(banned)] = -np.inf
    if how.temperature < MIN_TEMPERATURE:
        return int(logits.argmax())
    scaled = logits / np.float32(how.temperature)
    if 0 < how.top_k < len(scaled):
        scaled = np.where(scaled >= np.partition(scaled, -how.top_k)[-how.top_k], scaled, -np.inf)
    if how.top_p < 1.0:
        scaled = np.where(_nucleus(scaled, how.top_p), scaled, -np.inf)
    return int((scaled + gumbel(seed, position, len(scaled))).argmax())


def _nucleus(scaled: FloatArray, top_p: float) -> BoolArray:
    """The fewest of the likeliest codes that hold `top_p` of the probability, at least one: [V] -> [V]"""
    order = np.argsort(-scaled, kind="stable")
    weights = np.exp((scaled[order] - scaled[order[0]]).astype(np.float64))
    before = np.cumsum(weights) - weights
    kept = np.zeros(len(scaled), np.bool_)
    kept[order[before < top_p * weights.sum()]] = True
    return kept
