"""Our attention against attention written out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.kernels.graphs import FLOAT, HALF, Array, graph, session


def feeds(past: list[int], *, heads: int, kv_heads: int, dim: int, steps: int = 1, room: int = 0) -> dict[str, Array]:
    """Rows of these lengths before the new steps; `room` more places than the longest needs."""
    rng = np.random.default_rng([len(past), heads, kv_heads, dim, steps])
    rows, longest = len(past), max(past) + steps

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    packed = normal(rows, steps, (heads + 2 * kv_heads) * dim)
    packed[..., : heads * dim] *= dim**-0.5  # the node does not scale
    angles = rng.uniform(-3, 3, (longest, dim // 2))
    return {
        "packed": packed,
        "past_k": normal(rows, kv_heads, longest + room, dim),
        "past_v": normal(rows, kv_heads, longest + room, dim),
        "last": np.array(past, np.int32) + np.int32(steps - 1),
        "total": np.array([longest], np.int32),
        "cosine": np.cos(angles).astype(np.float32),
        "sine": np.sin(angles).astype(np.float32),
    }


def halved(given: dict[str, Array]) -> dict[str, Array]:
    return given | {name: given[name].astype(np.float16) for name in ("past_k", "past_v")}


def written_out(given: dict[str, Array], heads: int, kv_heads: int, scale: float, rotate: bool) -> list[Array]:
    """The same in float64, a row, a step and a head at a time."""
    dim = given["past_k"].shape[-1]
    rows, steps, _ = given["packed"].shape
    packed = given["packed"].astype(np.float64).reshape(rows, steps, heads + 2 * kv_heads, dim)
    keys, values = given["past_k"].astype(np.float64), given["past_v"].astype(np.float64)
    mixed = np.zeros((rows, steps, heads, dim))

    def turned(x: Array, place: int) -> Array:
        if not rotate:
            return x
        cosine, sine = given["cosine"][place].astype(np.float64), given["sine"][place].astype(np.float64)
        one, other = np.split(x, 2)
        return np.concatenate([one * cosine - other * sine, one * sine + other * cosine])

    for row in range(rows):
        for step in range(steps):
            place = given["last"][row] - steps + 1 + step
            for head in range(kv_heads):
                keys[row, head, place] = turned(packed[row, step, heads + head], place)
                values[row, head, place] = packed[row, step, heads + kv_heads + head]
            for head in range(heads):
                cached = head // (heads // kv_heads)
                scores = keys[row, cached, : place + 1] @ turned(packed[row, step, head], place) * scale
                weights = np.exp(scores - scores.max())
                mixed[row, step, head] = weights / weights.sum() @ values[row, cached, : place + 1]
    return [mixed.reshape(rows, steps, heads * dim), keys, values]


def near(found: list[Array], wanted: list[Array]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-6 * np.abs(other).max())


@pytest.mark.parametrize(
    ("heads", "kv_heads", "dim"), [(4, 1, 64), (8, 2, 64), (6, 2, 32), (3, 3, 16), (7, 1, 96), (16, 2, 256)]
)
@pytest.mark.parametrize("past", [[0], [2, 16, 63], [255, 254, 256, 7], [600, 1]])
def test_it_is_attention(form: str, heads: int, kv_heads: int, dim: int, past: list[int]) -> None:
    given = feeds(past, heads=heads, kv_heads=kv_heads, dim=dim, room=3)
    found = session(graph(heads, kv_heads), form).run(None, given)
    near(found, written_out(given, heads, kv_heads, 1.0, rotate=True))


@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(4, 1, 64), (8, 2, 32), (7, 1, 96)])
@pytest.mark.parametrize("past", [[0], [2, 16, 63], [255, 254, 256, 7]])
def test_a_cache_in_half_precision(form: str, heads: int, kv_heads: int, dim: int, past: list[int]) -> None:
    given = halved(feeds(past, heads=heads, kv_heads=kv_heads, dim=dim, room=3))
    found = session(graph(heads, kv_heads, cache=HALF), form).run(None, given)
    assert found[1].dtype == np.float16
    wanted = written_out(given, heads, kv_heads, 1.0, rotate=True)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * np.abs(other).max())


def test_scores_far_apart_stay_finite(form: str) -> None:
    """Over several tiles: the running maximum rises, falls, and weights vanish altogether."""
    given = feeds([900], heads=4, kv_heads=1, dim=64)
    given["past_k"][:, :, 300:310] *= 40
    found = session(graph(4, 1), form).run(None, given)
    near(found, written_out(given, 4, 1, 1.0, rotate=True))


@pytest.mark.parametrize("past", [[0], [30], [4, 0, 255]])
def test_several_steps_have_the_bits_of_single_ones(form: str, past: list[int]) -> None:
    steps = 4
    given = feeds(past, heads=8, kv_heads=2, dim=64, steps=steps)
    one = session(graph(8, 2), form)
    at_once = one.run(None, given)
    near(at_once, written_out(given, 8, 2, 1.0, rotate=True))
    kept = dict(given)
    for step in range(steps):
        now = {"packed": given["packed"][:, step : step + 1], "last": given["last"] - np.int32(steps - 1 - step)}
        mixed, kept["past_k"], kept["past_v"] = one.run(None, kept | now)
        assert np.array_equal(mixed[:, 0], at_once[0][:, step])
    assert np.array_equal(kept["past_k"], at_once[1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cache", [FLOAT, HALF])
def test_a_row_does_not_depend_on_its_neighbours(form: str, threads: int, cache: int) -> None:
    past = [3, 299, 0, 256, 31, 16, 255, 200]
    given = feeds(past, heads=8, kv_heads=2, dim=64)
    given = halved(given) if cache == HALF else given
    one = session(graph(8, 2, cache=cache), form, threads)
    together = one.run(None, given)
    for row in range(len(past)):
        alone = {name: array[row : row + 1] for name, array in given.items() if array.shape[0] == len(past)}
        alone["total"] = given["last"][row : row + 1] + np.int32(1)
        for found, wanted in zip(one.run(None, given | alone), together, strict=True):
            assert np.array_equal(found, wanted[row : row + 1])


def test_a_cache_that_grows(form: str) -> None:
    """A past with no room for the new step: the present is one longer."""
    given = feeds([6, 2], heads=4, kv_heads=1, dim=64)
    short = {name: given[name][:, :, :6] for name in ("past_k", "past_v")}
    found = session(graph(4, 1), form).run(None, given | short)
    wanted = written_out(given, 4, 1, 1.0, rotate=True)
    near(found[:1], wanted[:1])
    assert found[1].shape == (2, 1, 7, 64)
    near([found[1][0]], [wanted[1][0]])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"last": np.array([9], np.int32)}, "longer than the cache or the rotary tables"),
        ({"last": np.array([-1], np.int32)}, "longer than the cache or the rotary tables"),
        ({"last": np.array([1, 1], np.int32)}, "do not fit each other"),
        ({"packed": np.zeros((1, 1, 300), np.float32)}, "do not fit each other"),
        ({"cosine": np.zeros((6, 16), np.float32)}, "do not fit the heads"),
        ({"sine": np.zeros((4, 32), np.float32)}, "do not fit the heads"),
        ({"past_v": np.zeros((1, 1, 3, 64), np.float32)}, "do not fit each other"),
        ({"total": np.zeros(0, np.int32)}, "must be one number"),
        ({"past_k": np.zeros((1, 1, 3, 64), np.float32), "past_v": np.zeros((1, 1, 3, 64), np.float32)}, "its past"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(form: str, changed: dict[str, Array], complaint: str) -> None:
    given = feeds([5], heads=4, kv_heads=1, dim=64)
    with pytest.raises(Exception, match=complaint):
        session(graph(4, 1), form).run(None, given | changed)


@pytest.mark.parametrize(
    "attributes",
    [{"softcap": 5.0}, {"local_window_size": 9}, {"rotary_interleaved": 1}, {"do_rotary": 0}, {"scale": 0.5}],
)
def test_what_the_kernel_does_not_offer_stays_the_runtimes(attributes: dict[str, float]) -> None:
    assert not graph(4, 1, **attributes).functions


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["query", "cached key", "cached value"])
@pytest.mark.parametrize("past", [3, 40, 300])
def test_what_is_no_number_stays_none(form: str, bad: float, where: str, past: int) -> None:
    """The engine looks for it in the logits."""
    given = feeds([past, past], heads=4, kv_heads=1, dim=64)
    match where:
        case "query":
            given["packed"][0, 0, :256] = bad
        case "cached key":
            given["past_k"][0, 0, 2] = bad
        case "cached value":
            given["past_v"][0, 0, 2] = bad
    mixed = session(graph(4, 1), form).run(None, given)[0]
    assert not np.isfinite(mixed[0]).any()
    assert np.isfinite(mixed[1]).all()


def test_a_first_run_with_padding(form: str) -> None:
    """Two rows of four steps, the second has only two: what follows them is unused."""
    given = feeds([0, 0], heads=4, kv_heads=1, dim=64, steps=4)
    given["last"] = np.array([3, 1], np.int32)
    found = session(graph(4, 1), form).run(None, given)[0]
    short = {name: array[1:, :2] if name == "packed" else array[1:] for name, array in given.items()}
    short |= {name: given[name] for name in ("total", "cosine", "sine")}
    near([found[1:, :2]], written_out(short, 4, 1, 1.0, rotate=True)[:1])


def test_no_row_at_all(form: str) -> None:
    given = feeds([4], heads=4, kv_heads=1, dim=64)
    none = {name: array[:0] for name, array in given.items() if name in ("packed", "past_k", "past_v", "last")}
    assert session(graph(4, 1), form).run(None, given | none)[0].shape == (0, 1, 256)


def test_two_threads_may_run_one_session(form: str) -> None:
    given = feeds([200] * 6, heads=8, kv_heads=2, dim=64)
    one = session(graph(8, 2), form)
    wanted = one.run(None, given)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: one.run(None, given), range(40)):
            for mine, other in zip(found, wanted, strict=True):
                assert np.array_equal(mine, other)
