"""Our int8 products against sums in whole numbers and the runtime's bits."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from engines.runtime import kernels
from tests.kernels.graphs import ROW_SCALE, Array, product, session, stock


def operands(rows: int, depth: int, columns: int) -> tuple[Array, Array, Array]:
    """Rows in float, weights, scales of columns."""
    rng = np.random.default_rng([rows, depth, columns])
    given = (rng.integers(-140, 140, (rows, depth)) * ROW_SCALE + rng.normal(0, 0.01, (rows, depth))).astype(np.float32)
    weights = rng.integers(-127, 128, (depth, columns), np.int8)
    return given, weights, rng.uniform(0.001, 0.02, columns).astype(np.float32)


def written_out(given: Array, weights: Array, scales: Array) -> Array:
    small = np.clip(np.rint(given / ROW_SCALE), -128, 127).astype(np.int64)
    return (small @ weights.astype(np.int64)).astype(np.float32) * (ROW_SCALE * scales)


def packed_weights() -> int:
    count: int = kernels._library().parlando_packed_weights()
    return count


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 64])
@pytest.mark.parametrize(("depth", "columns"), [(4, 64), (256, 896), (640, 200), (12, 9)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_has_the_bits_of_the_runtimes(form: str, rows: int, depth: int, columns: int, threads: int) -> None:
    given, weights, scales = operands(rows, depth, columns)
    model = product(weights, scales)
    found = session(model, form, threads).run(None, {"rows": given})[0]
    assert np.array_equal(found, written_out(given, weights, scales))
    if rows:
        assert np.array_equal(found, stock(model).run(None, {"rows": given})[0])


@pytest.mark.parametrize("row", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
def test_the_largest_sums_do_not_saturate(form: str, row: int, weight: int) -> None:
    """Two products of int8 do not fit the int16 of the instruction that AVX2 has for uint8 and int8."""
    given, weights, scales = operands(2, 1248, 64)
    given[:], weights[:] = row * ROW_SCALE, weight
    found = session(product(weights, scales), form).run(None, {"rows": given})[0]
    assert np.array_equal(found, np.float32(row * weight * 1248) * (ROW_SCALE * scales)[None].repeat(2, 0))


def test_numbers_beyond_the_scale_are_cut(form: str) -> None:
    given, weights, scales = operands(3, 64, 80)
    given[0, :4], given[1, :4], given[2, 0] = [1e30, -1e30, np.inf, -np.inf], [4.6, -4.7, 4.7, -4.8], np.nan
    model = product(weights, scales)
    assert np.array_equal(
        session(model, form).run(None, {"rows": given})[0], stock(model).run(None, {"rows": given})[0]
    )


@pytest.mark.parametrize(
    ("depth", "options", "complaint"),
    [
        (64, {"constant": False}, "must be constant"),
        (64, {"zero": 3}, "zero points must be 0"),
        (64, {"of_rows": 3}, "zero points must be 0"),
        (63, {}, "multiple of 4 rows"),
    ],
)
def test_products_that_are_not_offered(form: str, depth: int, options: dict[str, Any], complaint: str) -> None:
    _, weights, scales = operands(1, depth, 64)
    with pytest.raises(Exception, match=complaint):
        session(product(weights, scales, **options), form)


def test_rows_of_another_depth_are_refused(form: str) -> None:
    given, weights, scales = operands(2, 64, 64)
    with pytest.raises(Exception, match="do not fit each other"):
        session(product(weights, scales), form).run(None, {"rows": given[:, :60]})


def test_sessions_share_weights_and_outlive_each_other(form: str) -> None:
    given, weights, scales = operands(9, 256, 128)
    model, other = product(weights, scales), product(-weights, scales)
    gc.collect()
    before = packed_weights()
    first, second, third = session(model, form), session(model, form), session(other, form)
    assert packed_weights() == before + 2
    wanted = first.run(None, {"rows": given})[0]
    del first
    assert np.array_equal(second.run(None, {"rows": given})[0], wanted)
    assert np.array_equal(third.run(None, {"rows": given})[0], -wanted)
    del second, third
    gc.collect()
    assert packed_weights() == before
    assert np.array_equal(session(model, form).run(None, {"rows": given})[0], wanted)


def test_sessions_come_and_go_on_several_threads(form: str) -> None:
    given, weights, scales = operands(9, 256, 128)
    model = product(weights, scales)
    wanted = stock(model).run(None, {"rows": given})[0]

    def speak(round_: int) -> None:
        assert np.array_equal(session(model, form).run(None, {"rows": given})[0], wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(speak, range(60)))
