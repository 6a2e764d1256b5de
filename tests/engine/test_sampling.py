"""Sampling against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engines.families.base import Sampling
from engines.families.common.randomness import gumbel, gumbel_places, noise, noise_places, tables
from engines.families.common.sampling import sample
from engines.runtime.base import FloatArray

LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], np.float32)
DRAWS = 40_000


def shares(how: Sampling, history: tuple[int, ...] = (), forbidden: tuple[int, ...] = ()) -> FloatArray:
    """How often each code is sampled."""
    keys = np.stack([np.full(DRAWS, 7), np.arange(DRAWS)], axis=1)
    logits = np.tile(LOGITS, (DRAWS, 1))
    codes, is_finite = sample(logits, [how] * DRAWS, keys, [history] * DRAWS, [forbidden] * DRAWS)
    assert is_finite.all()
    return np.bincount(codes, minlength=len(LOGITS)) / DRAWS


def softmax(logits: FloatArray, kept: list[int] | None = None) -> FloatArray:
    weights = np.exp(logits.astype(np.float64))
    if kept is not None:
        weights *= np.isin(np.arange(len(weights)), kept)
    return weights / weights.sum()


def near(found: FloatArray, wanted: FloatArray) -> bool:
    """Within five standard deviations; none of what may not come."""
    allowed = 5 * np.sqrt(wanted * (1 - wanted) / DRAWS)
    return bool((np.abs(found - wanted) <= allowed).all())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_samples_the_softmax(temperature: float) -> None:
    assert near(shares(Sampling(temperature=temperature)), softmax(LOGITS / temperature))


@pytest.mark.parametrize("top_k", [1, 3, 6, 9])
def test_top_k_keeps_the_likeliest(top_k: int) -> None:
    assert near(shares(Sampling(temperature=1.0, top_k=top_k)), softmax(LOGITS, list(range(min(top_k, 6)))))


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.8, 0.95, 0.999])
def test_top_p_keeps_the_fewest_that_hold_the_probability(top_p: float) -> None:
    whole = softmax(LOGITS)
    count = next(count for count in range(1, 7) if whole[:count].sum() >= top_p)
    assert near(shares(Sampling(temperature=1.0, top_p=top_p)), softmax(LOGITS, list(range(count))))


def test_top_p_follows_temperature_and_top_k() -> None:
    hot = softmax(LOGITS / 4, [0, 1, 2])
    count = next(count for count in range(1, 4) if hot[:count].sum() >= 0.6)
    found = shares(Sampling(temperature=4.0, top_k=3, top_p=0.6))
    assert near(found, softmax(LOGITS / 4, list(range(count))))


@pytest.mark.parametrize("penalty", [1.3, 2.0])
def test_the_repetition_penalty_divides_and_multiplies(penalty: float) -> None:
    """A generated token becomes less likely, whatever its logit's sign, and once however often it was generated."""
    penalised = LOGITS.copy()
    penalised[0] /= penalty
    penalised[4] *= penalty
    found = shares(Sampling(temperature=1.0, repetition_penalty=penalty), history=(0, 4, 0, 0))
    assert near(found, softmax(penalised))
    assert near(shares(Sampling(temperature=1.0, repetition_penalty=penalty)), softmax(LOGITS))


def test_the_penalty_holds_for_the_likeliest_too() -> None:
    how, keys = Sampling(repetition_penalty=3.0), np.zeros((1, 2), np.int64)
    assert sample(LOGITS[None], [how], keys, [[0]])[0].tolist() == [1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_suppressed_and_forbidden_codes_never_come(temperature: float) -> None:
    found = shares(Sampling(temperature=temperature, suppressed=(0,)), forbidden=(2,))
    assert found[[0, 2]].tolist() == [0, 0]
    if temperature:
        assert near(found, softmax(LOGITS, [1, 3, 4, 5]))
    else:
        assert found[1] == 1


def test_greedy_takes_the_first_of_equals_and_needs_no_noise() -> None:
    logits = np.array([[1.0, 3.0, 3.0], [0.0, -1.0, -2.0]], np.float32)
    for temperature in (0.0, 1e-4):
        codes, _ = sample(logits, [Sampling(temperature=temperature)] * 2, np.zeros((2, 2), np.int64))
        assert codes.tolist() == [1, 0]


def test_a_row_depends_on_its_own_key_and_logits_alone() -> None:
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((8, 50)).astype(np.float32)
    how = [Sampling(temperature=0.5 + row / 4, top_k=row * 5, top_p=1 - row / 20) for row in range(8)]
    keys = rng.integers(0, 1000, (8, 2))
    together, _ = sample(logits, how, keys)
    order = rng.permutation(8)
    shuffled, _ = sample(logits[order], [how[row] for row in order], keys[order])
    alone = [int(sample(logits[row : row + 1], [how[row]], keys[row : row + 1])[0][0]) for row in range(8)]
    assert together.tolist() == alone
    assert shuffled.tolist() == [alone[row] for row in order]


def test_a_filter_changes_no_other_codes_draw() -> None:
    """Noise is laid out by code: with the sampled code kept, any filter samples it again."""
    for position in range(200):
        key = np.array([[3, position]])
        free = int(sample(LOGITS[None], [Sampling(temperature=1.0)], key)[0][0])
        top = Sampling(temperature=1.0, top_k=free + 1)  # the codes are in order of their logits
        assert int(sample(LOGITS[None], [top], key)[0][0]) == free
        assert free == int((LOGITS + gumbel(3, position, 6)).argmax())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_found_in_their_row(bad: float) -> None:
    logits = np.tile(LOGITS, (3, 1))
    logits[1, 4] = bad
    _, is_finite = sample(logits, [Sampling(temperature=1.0)] * 3, np.zeros((3, 2), np.int64))
    assert is_finite.tolist() == [True, False, True]


def test_a_device_reads_noise_where_the_host_does() -> None:
    """It is told the places of many rows at once."""
    rng, (normal, drawn) = np.random.default_rng(3), tables()
    keys = np.stack([rng.integers(0, 2**63 - 1, 200), rng.integers(0, 4000, 200)], axis=1)
    keys[:2, 0] = 0, 2**63 - 1
    for (seed, position), places in zip(keys.tolist(), gumbel_places(keys, 3).tolist(), strict=True):
        for step, place in enumerate(places):
            assert np.array_equal(drawn[place : place + 5], gumbel(seed, position + step, 5))
    firsts = keys[:, 1] * 640
    for seed, first, place in zip(
        keys[:, 0].tolist(), firsts.tolist(), noise_places(keys[:, 0], firsts).tolist(), strict=True
    ):
        assert np.array_equal(normal[place : place + 5], noise(seed, first, 5))
