"""The runtime's own int8 products, which it cuts on processors without VNNI unless it is told not to."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from engines.runtime.ort import cpu_session, session_options

ROOT = Path(__file__).resolve().parents[2]
MAKES_OPTIONS = {"engines/runtime/ort.py", "engines/runtime/cuda_session.py"}  # the latter has no node on a CPU


def products(count: int) -> ModelProto:
    """rows [R, 8] uint8 by `count` products in a row of one and the same weights, each in int8 again."""
    weights = numpy_helper.from_array(np.full((8, 8), 127, np.int8), "weights")
    small = numpy_helper.from_array(np.array(0, np.int32), "zero")
    nodes, at = [], "rows"
    for number in range(count):
        nodes.append(helper.make_node("MatMulInteger", [at, "weights"], [f"sums{number}"]))
        at = f"row{number}"
        nodes.append(helper.make_node("Equal", [f"sums{number}", "zero"], [f"{at}_is_zero"]))
        nodes.append(helper.make_node("Cast", [f"{at}_is_zero"], [at], to=TensorProto.UINT8))
    rows = helper.make_tensor_value_info("rows", TensorProto.UINT8, ["R", 8])
    sums = [helper.make_tensor_value_info(f"sums{number}", TensorProto.INT32, ["R", 8]) for number in range(count)]
    graph = helper.make_graph(nodes, "products", [rows], sums, [weights, small])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("rows", [1, 5])
def test_the_largest_sums_are_whole(rows: int) -> None:
    session = cpu_session(products(1).SerializeToString(), session_options())
    (sums,) = session.run(None, {"rows": np.full((rows, 8), 255, np.uint8)})
    assert (sums == 8 * 255 * 127).all()


def test_weights_that_products_share_load_all_the_same() -> None:
    """Told to be exact, runtime 1.31 fails to load these on a processor without VNNI."""
    session = cpu_session(products(3).SerializeToString(), session_options())
    *_, last = session.run(None, {"rows": np.zeros((1, 8), np.uint8)})
    assert last.shape == (1, 8)


def test_another_failure_is_not_hidden() -> None:
    with pytest.raises(Exception, match=r"(?i)protobuf|parse|invalid"):
        cpu_session(b"no graph", session_options())


def test_every_session_on_a_cpu_is_told() -> None:
    found = set[str]()
    for folder in ("engines", "models", "server"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"\bSessionOptions\(\)", path.read_text()):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == MAKES_OPTIONS
