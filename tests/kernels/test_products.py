"""Our int8 products against sums in whole numbers and the runtime's bits."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.kernels.graphs import Array, library, product, session, stock


@pytest.fixture(autouse=True)
def lanes() -> None:
    """There is one width of them here."""
    if not library().parlando_offers() & 2:
        pytest.skip("products are the runtime's without AVX-512 VNNI, or with AMX")


def operands(rows: int, depth: int, columns: int) -> tuple[dict[str, Array], Array, Array]:
    rng = np.random.default_rng([rows, depth, columns])
    given = {
        "rows": rng.integers(0, 256, (rows, depth), np.uint8),
        "row_scale": np.array(0.037, np.float32),
        "row_zero": np.array(128, np.uint8),
    }
    weights = rng.integers(-127, 128, (depth, columns), np.int8)
    return given, weights, rng.uniform(0.001, 0.02, columns).astype(np.float32)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 64])
@pytest.mark.parametrize(("depth", "columns"), [(4, 64), (256, 896), (640, 200), (12, 9)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_has_the_bits_of_the_runtimes(rows: int, depth: int, columns: int, threads: int) -> None:
    given, weights, scales = operands(rows, depth, columns)
    model = product(weights, scales)
    found = session(model, threads).run(None, given)[0]
    sums = (given["rows"].astype(np.int64) - 128) @ weights.astype(np.int64)
    assert np.array_equal(found, sums.astype(np.float32) * (given["row_scale"] * scales))
    if rows:
        assert np.array_equal(found, stock(model).run(None, given)[0])


@pytest.mark.parametrize("zero", [0, 7, 255])
def test_any_zero_point_of_the_rows(zero: int) -> None:
    given, weights, scales = operands(4, 64, 80)
    given["row_zero"] = np.array(zero, np.uint8)
    model = product(weights, scales)
    assert np.array_equal(session(model).run(None, given)[0], stock(model).run(None, given)[0])


def test_one_scale_for_all_columns() -> None:
    given, weights, _ = operands(3, 64, 128)
    model = product(weights, np.array([0.01], np.float32))
    assert np.array_equal(session(model).run(None, given)[0], stock(model).run(None, given)[0])


def test_the_largest_sums_do_not_overflow() -> None:
    given, weights, scales = operands(2, 1248, 64)
    given["rows"][:], weights[:] = 255, -128
    found = session(product(weights, scales)).run(None, given)[0]
    assert np.array_equal(found, np.float32(127 * -128 * 1248) * (given["row_scale"] * scales)[None].repeat(2, 0))


@pytest.mark.parametrize(
    ("depth", "options", "complaint"),
    [
        (64, {"constant": False}, "must be constant"),
        (64, {"zero": 3}, "zero point 0"),
        (64, {"transB": 1}, "are not offered"),
        (64, {"alpha": 0.5}, "are not offered"),
        (63, {}, "multiple of 4 rows"),
    ],
)
def test_products_that_are_not_offered(depth: int, options: dict[str, Any], complaint: str) -> None:
    _, weights, scales = operands(1, depth, 64)
    with pytest.raises(Exception, match=complaint):
        session(product(weights, scales, **options))


def test_rows_of_another_depth_are_refused() -> None:
    given, weights, scales = operands(2, 64, 64)
    with pytest.raises(Exception, match="do not fit each other"):
        session(product(weights, scales)).run(None, given | {"rows": given["rows"][:, :60]})


def test_sessions_share_weights_and_outlive_each_other() -> None:
    given, weights, scales = operands(9, 256, 128)
    model, other = product(weights, scales), product(-weights, scales)
    gc.collect()
    before = library().parlando_packed_weights()
    first, second, third = session(model), session(model), session(other)
    assert library().parlando_packed_weights() == before + 2
    wanted = first.run(None, given)[0]
    del first
    assert np.array_equal(second.run(None, given)[0], wanted)
    assert np.array_equal(third.run(None, given)[0], -wanted)
    del second, third
    gc.collect()
    assert library().parlando_packed_weights() == before
    assert np.array_equal(session(model).run(None, given)[0], wanted)


def test_sessions_come_and_go_on_several_threads() -> None:
    given, weights, scales = operands(9, 256, 128)
    model = product(weights, scales)
    wanted = stock(model).run(None, given)[0]

    def speak(turn: int) -> None:
        assert np.array_equal(session(model).run(None, given)[0], wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(speak, range(60)))
