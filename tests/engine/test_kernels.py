"""Our kernels against attention and products written out, and against the runtime's own in the shipped voice."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.bundle import Bundle
from engines.config import EngineConfig
from engines.loop import Engine
from engines.runtime.onnx import OURS, OnnxLm, kernel_library
from models.export import lm_graph
from models.speech_lm import LmConfig, SpeechLm

Array = NDArray[Any]
NODE = "GroupQueryAttention"
INPUTS = ["packed", "", "", "past_k", "past_v", "last", "total", "cosine", "sine"]
FLOAT, HALF, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32


@pytest.fixture(autouse=True, params=[16, 8])
def lanes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX-512 and AVX2, as far as this processor has them."""
    monkeypatch.setenv("KERNEL_LANES", str(request.param))


def graph(heads: int, kv_heads: int, inputs: list[str] = INPUTS, cache: int = FLOAT, **attributes: Any) -> bytes:
    given = {"packed": FLOAT, "past_k": cache, "past_v": cache, "last": INT32, "total": INT32}
    given |= {"cosine": FLOAT, "sine": FLOAT}
    ranks = {"packed": 3, "past_k": 4, "past_v": 4, "last": 1, "total": 1, "cosine": 2, "sine": 2}
    results = {"mixed": 3, "present_k": 4, "present_v": 4}
    node = helper.make_node(
        NODE, inputs, [*results], domain="com.microsoft", num_heads=heads, kv_num_heads=kv_heads, **attributes
    )

    def end(name: str, kind: int, rank: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [f"{name}{axis}" for axis in range(rank)])

    body = helper.make_graph(
        [node],
        "attention",
        [end(name, kind, ranks[name]) for name, kind in given.items() if name in inputs],
        [end(name, cache if "present" in name else FLOAT, rank) for name, rank in results.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10).SerializeToString()


def session(model: bytes, threads: int = 1) -> ort.InferenceSession:
    library = kernel_library()
    if library is None:
        pytest.skip("the kernel was not compiled when this package was installed")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        options.register_custom_ops_library(library)
    except Exception as error:
        if "want AVX2" not in str(error):
            raise
        pytest.skip("this processor has no AVX2")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds(past: list[int], *, heads: int, kv_heads: int, dim: int, steps: int = 1, room: int = 0) -> dict[str, Array]:
    """Rows of these lengths before the new steps; `room` more places than the longest needs."""
    rng = np.random.default_rng([len(past), heads, kv_heads, dim, steps])
    rows, longest = len(past), max(past) + steps

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    angles = rng.uniform(-3, 3, (longest, dim // 2))
    return {
        "packed": normal(rows, steps, (heads + 2 * kv_heads) * dim),
        "past_k": normal(rows, kv_heads, longest + room, dim),
        "past_v": normal(rows, kv_heads, longest + room, dim),
        "last": np.array(past, np.int32) + np.int32(steps - 1),
        "total": np.array([longest], np.int32),
        "cosine": np.cos(angles).astype(np.float32),
        "sine": np.sin(angles).astype(np.float32),
    }


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
def test_it_is_attention(heads: int, kv_heads: int, dim: int, past: list[int]) -> None:
    given = feeds(past, heads=heads, kv_heads=kv_heads, dim=dim, room=3)
    found = session(graph(heads, kv_heads, do_rotary=1)).run(None, given)
    near(found, written_out(given, heads, kv_heads, dim**-0.5, rotate=True))


def halved(given: dict[str, Array]) -> dict[str, Array]:
    return given | {name: given[name].astype(np.float16) for name in ("past_k", "past_v")}


@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(4, 1, 64), (8, 2, 32), (7, 1, 96)])
@pytest.mark.parametrize("past", [[0], [2, 16, 63], [255, 254, 256, 7]])
def test_a_cache_in_half_precision(heads: int, kv_heads: int, dim: int, past: list[int]) -> None:
    given = halved(feeds(past, heads=heads, kv_heads=kv_heads, dim=dim, room=3))
    found = session(graph(heads, kv_heads, cache=HALF, do_rotary=1)).run(None, given)
    assert found[1].dtype == np.float16
    wanted = written_out(given, heads, kv_heads, dim**-0.5, rotate=True)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * np.abs(other).max())


def test_scale_and_no_rotation() -> None:
    given = feeds([5, 40], heads=4, kv_heads=2, dim=64)
    bare = {name: array for name, array in given.items() if name not in ("cosine", "sine")}
    found = session(graph(4, 2, INPUTS[:7], scale=0.3)).run(None, bare)
    near(found, written_out(given, 4, 2, 0.3, rotate=False))


def test_scores_far_apart_stay_finite() -> None:
    """Over several tiles: the running maximum rises, falls, and weights vanish altogether."""
    given = feeds([900], heads=4, kv_heads=1, dim=64)
    given["past_k"][:, :, 300:310] *= 40
    found = session(graph(4, 1, do_rotary=1)).run(None, given)
    near(found, written_out(given, 4, 1, 0.125, rotate=True))


@pytest.mark.parametrize("past", [[0], [30], [4, 0, 255]])
def test_several_steps_have_the_bits_of_single_ones(past: list[int]) -> None:
    steps = 4
    given = feeds(past, heads=8, kv_heads=2, dim=64, steps=steps)
    one = session(graph(8, 2, do_rotary=1))
    at_once = one.run(None, given)
    near(at_once, written_out(given, 8, 2, 0.125, rotate=True))
    kept = dict(given)
    for step in range(steps):
        now = {"packed": given["packed"][:, step : step + 1], "last": given["last"] - np.int32(steps - 1 - step)}
        mixed, kept["past_k"], kept["past_v"] = one.run(None, kept | now)
        assert np.array_equal(mixed[:, 0], at_once[0][:, step])
    assert np.array_equal(kept["past_k"], at_once[1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("cache", [FLOAT, HALF])
def test_a_row_does_not_depend_on_its_neighbours(threads: int, cache: int) -> None:
    past = [3, 299, 0, 256, 31, 16, 255, 200]
    given = feeds(past, heads=8, kv_heads=2, dim=64)
    given = halved(given) if cache == HALF else given
    one = session(graph(8, 2, cache=cache, do_rotary=1), threads)
    together = one.run(None, given)
    for row in range(len(past)):
        alone = {name: array[row : row + 1] for name, array in given.items() if array.shape[0] == len(past)}
        alone["total"] = given["last"][row : row + 1] + np.int32(1)
        for found, wanted in zip(one.run(None, given | alone), together, strict=True):
            assert np.array_equal(found, wanted[row : row + 1])


def test_a_cache_that_grows() -> None:
    """A past with no room for the new step: the present is one longer."""
    given = feeds([6, 2], heads=4, kv_heads=1, dim=64)
    short = {name: given[name][:, :, :6] for name in ("past_k", "past_v")}
    found = session(graph(4, 1, do_rotary=1)).run(None, given | short)
    wanted = written_out(given, 4, 1, 0.125, rotate=True)
    near(found[:1], wanted[:1])
    assert found[1].shape == (2, 1, 7, 64)
    near([found[1][0]], [wanted[1][0]])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"last": np.array([9], np.int32)}, "longer than the cache or the rotary tables"),
        ({"last": np.array([-1], np.int32)}, "longer than the cache or the rotary tables"),
        ({"last": np.array([1, 1], np.int32)}, "do not fit each other"),
        ({"packed": np.zeros((1, 1, 320), np.float32)}, "do not fit each other"),
        ({"cosine": np.zeros((6, 16), np.float32)}, "do not fit the heads"),
        ({"sine": np.zeros((4, 32), np.float32)}, "do not fit the heads"),
        ({"past_v": np.zeros((1, 1, 3, 64), np.float32)}, "do not fit each other"),
        ({"total": np.zeros(0, np.int32)}, "must be one number"),
        ({"past_k": np.zeros((1, 1, 3, 64), np.float32), "past_v": np.zeros((1, 1, 3, 64), np.float32)}, "its past"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(changed: dict[str, Array], complaint: str) -> None:
    given = feeds([5], heads=4, kv_heads=1, dim=64)
    with pytest.raises(Exception, match=complaint):
        session(graph(4, 1, do_rotary=1)).run(None, given | changed)


@pytest.mark.parametrize(
    "attributes", [{"softcap": 5.0}, {"local_window_size": 9}, {"smooth_softmax": 1}, {"rotary_interleaved": 1}]
)
def test_what_it_does_not_offer_is_refused_at_load(attributes: dict[str, float]) -> None:
    with pytest.raises(Exception, match="not offered"):
        session(graph(4, 1, do_rotary=1, **attributes))


def test_the_shipped_voice_says_the_same_with_the_runtimes_kernel(bundle: Bundle) -> None:
    """Steps of growing context, fed the same codes: logits differ by what int8 makes of the last bits."""
    session(graph(4, 1))  # skips where there is no kernel
    ours, theirs = OnnxLm(bundle, 3), OnnxLm(bundle, 3, own_kernels=False)
    assert ours.kernels.startswith(OURS)
    assert theirs.kernels.startswith("the runtime's")
    rng, apart = np.random.default_rng(8), []
    for past in range(60):
        codes, logits = rng.integers(0, bundle.codes.count, 3), []
        for lm in (ours, theirs):
            lm.inputs.features[:, 0, 0], lm.inputs.past[:] = codes, past
            logits.append(lm.step(0, 3).copy())
        apart.append(np.abs(logits[0] - logits[1]).max() / logits[1].std())
    assert np.median(apart) < 0.02
    assert max(apart) < 1


def test_a_compiler_gave_us_the_kernel() -> None:
    """Optional at installation, so a build that breaks is silent there."""
    if shutil.which("cc") is None or platform.machine() != "x86_64":
        pytest.skip("it wants a C compiler and x86-64")
    library = kernel_library()
    assert library is not None
    beside = [
        source for source in Path(library).parent.glob("*.[ch]") if source.stat().st_mtime > os.stat(library).st_mtime
    ]
    assert not beside, "the library is older than its source: make clean, or install again"


def test_the_engine_says_which_kernel_runs(bundle: Bundle) -> None:
    session(graph(4, 1))
    for asked in (True, False):
        engine = Engine(bundle, EngineConfig(slots=1, own_kernels=asked))
        try:
            assert engine.stats().kernels.startswith(OURS) is asked
        finally:
            engine.close()


def test_a_cache_in_int8_keeps_the_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    lm = onnx.load(bundle.folder / bundle.lm.file)
    for end in [*lm.graph.input, *lm.graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = TensorProto.INT8
    lm.graph.initializer.append(numpy_helper.from_array(np.array([0.03], np.float32), "cache_scale"))
    for node in lm.graph.node:
        if node.op_type == NODE:
            node.input.extend(["", "", "", "cache_scale", "cache_scale"])
            kinds = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 8}
            node.attribute.extend(helper.make_attribute(name, value) for name, value in kinds.items())
    onnx.save(lm, tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx")
    runtime = OnnxLm(dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2)
    assert "lm.onnx cannot be loaded" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()


def test_a_shape_that_is_not_for_the_kernel_keeps_the_runtimes(bundle: Bundle, tmp_path: Path) -> None:
    """Heads of 272, which the kernel refuses at the first step."""
    torch.manual_seed(0)
    config = LmConfig(voices=4, num_phone_ids=bundle.adapter.num_phone_ids, width=544, layers=1, heads=2, kv_heads=1)
    onnx.save(lm_graph(SpeechLm(config).eval()), tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx", layers=1, kv_heads=1, head_dim=config.head_dim)
    runtime = OnnxLm(dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None), 2)
    if kernel_library() is not None:
        assert "at most 256" in runtime.kernels
    assert np.isfinite(runtime.step(0, 2)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["query", "cached key", "cached value"])
@pytest.mark.parametrize("past", [3, 40, 300])
def test_what_is_no_number_stays_none(bad: float, where: str, past: int) -> None:
    """The engine looks for it in the logits."""
    given = feeds([past, past], heads=4, kv_heads=1, dim=64)
    match where:
        case "query":
            given["packed"][0, 0, :256] = bad
        case "cached key":
            given["past_k"][0, 0, 2] = bad
        case "cached value":
            given["past_v"][0, 0, 2] = bad
    mixed = session(graph(4, 1, do_rotary=1)).run(None, given)[0]
    assert not np.isfinite(mixed[0]).any()
    assert np.isfinite(mixed[1]).all()


def test_a_first_run_with_padding() -> None:
    """Two rows of four steps, the second has only two: what follows them is nobody's."""
    given = feeds([0, 0], heads=4, kv_heads=1, dim=64, steps=4)
    given["last"] = np.array([3, 1], np.int32)
    found = session(graph(4, 1, do_rotary=1)).run(None, given)[0]
    short = {name: array[1:, :2] if name == "packed" else array[1:] for name, array in given.items()}
    short |= {name: given[name] for name in ("total", "cosine", "sine")}
    near([found[1:, :2]], written_out(short, 4, 1, 0.125, rotate=True)[:1])


def test_no_row_at_all() -> None:
    given = feeds([4], heads=4, kv_heads=1, dim=64)
    none = {name: array[:0] for name, array in given.items() if name in ("packed", "past_k", "past_v", "last")}
    assert session(graph(4, 1, do_rotary=1)).run(None, given | none)[0].shape == (0, 1, 256)


def test_two_threads_may_run_one_session() -> None:
    given = feeds([200] * 6, heads=8, kv_heads=2, dim=64)
    one = session(graph(8, 2, do_rotary=1))
    wanted = one.run(None, given)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: one.run(None, given), range(40)):
            for mine, other in zip(found, wanted, strict=True):
                assert np.array_equal(mine, other)


def library() -> ctypes.CDLL:
    found = kernel_library()
    if found is None:
        pytest.skip("the kernels were not compiled when this package was installed")
    return ctypes.CDLL(found)


@pytest.fixture
def products() -> None:
    if not library().parlando_offers() & 2:
        pytest.skip("products are the runtime's with fewer lanes, without AVX-512 VNNI, or with AMX")


PRODUCT_INPUTS = ["rows", "row_scale", "row_zero", "weights", "scales", "zeros"]


def product(weights: Array, scales: Array, *, constant: bool = True, zero: int = 0, **attributes: Any) -> bytes:
    """rows [R, depth] in uint8 by weights [depth, columns] in int8."""
    node = helper.make_node("QGemm", PRODUCT_INPUTS, ["out"], domain="com.microsoft", **attributes)
    kinds = {"rows": TensorProto.UINT8, "row_scale": FLOAT, "row_zero": TensorProto.UINT8}
    shapes: dict[str, list[Any]] = {"rows": ["R", None], "row_scale": [], "row_zero": []}
    constants = {"weights": weights, "scales": scales, "zeros": np.full(len(scales), zero, np.int8)}
    if not constant:
        constants.pop("weights")
        kinds["weights"], shapes["weights"] = TensorProto.INT8, list(weights.shape)
    body = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info(name, kind, shapes[name]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info("out", FLOAT, ["R", weights.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=10).SerializeToString()


def operands(rows: int, depth: int, columns: int) -> tuple[dict[str, Array], Array, Array]:
    rng = np.random.default_rng([rows, depth, columns])
    given = {
        "rows": rng.integers(0, 256, (rows, depth), np.uint8),
        "row_scale": np.array(0.037, np.float32),
        "row_zero": np.array(128, np.uint8),
    }
    weights = rng.integers(-127, 128, (depth, columns), np.int8)
    return given, weights, rng.uniform(0.001, 0.02, columns).astype(np.float32)


def stock(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 64])
@pytest.mark.parametrize(("depth", "columns"), [(4, 64), (256, 896), (640, 200), (12, 9)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_has_the_bits_of_the_runtimes(
    rows: int, depth: int, columns: int, threads: int, products: None
) -> None:
    given, weights, scales = operands(rows, depth, columns)
    model = product(weights, scales)
    found = session(model, threads).run(None, given)[0]
    sums = (given["rows"].astype(np.int64) - 128) @ weights.astype(np.int64)
    assert np.array_equal(found, sums.astype(np.float32) * (given["row_scale"] * scales))
    if rows:
        assert np.array_equal(found, stock(model).run(None, given)[0])


@pytest.mark.parametrize("zero", [0, 7, 255])
def test_any_zero_point_of_the_rows(zero: int, products: None) -> None:
    given, weights, scales = operands(4, 64, 80)
    given["row_zero"] = np.array(zero, np.uint8)
    model = product(weights, scales)
    assert np.array_equal(session(model).run(None, given)[0], stock(model).run(None, given)[0])


def test_one_scale_for_all_columns(products: None) -> None:
    given, weights, _ = operands(3, 64, 128)
    model = product(weights, np.array([0.01], np.float32))
    assert np.array_equal(session(model).run(None, given)[0], stock(model).run(None, given)[0])


def test_the_largest_sums_do_not_overflow(products: None) -> None:
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
def test_products_that_are_not_offered(depth: int, options: dict[str, Any], complaint: str, products: None) -> None:
    _, weights, scales = operands(1, depth, 64)
    with pytest.raises(Exception, match=complaint):
        session(product(weights, scales, **options))


def test_rows_of_another_depth_are_refused(products: None) -> None:
    given, weights, scales = operands(2, 64, 64)
    with pytest.raises(Exception, match="do not fit each other"):
        session(product(weights, scales)).run(None, given | {"rows": given["rows"][:, :60]})


def test_sessions_share_weights_and_outlive_each_other(products: None) -> None:
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


def test_sessions_come_and_go_on_several_threads(products: None) -> None:
    given, weights, scales = operands(9, 256, 128)
    model = product(weights, scales)
    wanted = stock(model).run(None, given)[0]

    def speak(turn: int) -> None:
        assert np.array_equal(session(model).run(None, given)[0], wanted)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(speak, range(60)))


def test_the_engine_keeps_a_cache_in_half_precision(bundle: Bundle, tmp_path: Path) -> None:
    session(graph(4, 1))
    lm = onnx.load(bundle.folder / bundle.lm.file)
    for end in [*lm.graph.input, *lm.graph.output]:
        if end.name.startswith(("past_", "present_")):
            end.type.tensor_type.elem_type = HALF
    onnx.save(lm, tmp_path / "lm.onnx")
    own = dataclasses.replace(bundle.lm, file="lm.onnx")
    halves = dataclasses.replace(bundle, folder=tmp_path, lm=own, drafts=None)
    runtimes = OnnxLm(halves, 2), OnnxLm(halves, 2, own_kernels=False), OnnxLm(bundle, 2)
    assert [lm_of_one.kernels.startswith(OURS) for lm_of_one in runtimes] == [True, False, True]
    for past in range(20):
        logits = []
        for lm_of_one in runtimes:
            lm_of_one.inputs.features[:, 0, 0], lm_of_one.inputs.past[:] = 7 * past, past
            logits.append(lm_of_one.step(0, 2).copy())
        assert np.abs(logits[0] - logits[1]).max() < logits[1].std()
        assert np.abs(logits[0] - logits[2]).max() < logits[2].std()
