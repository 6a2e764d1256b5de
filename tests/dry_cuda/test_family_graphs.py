"""Each graph of the GPU forms of Qwen3-TTS and pocket-tts, captured by the real provider, as those of the shipped
voice are in `test_gpu_graphs`. A frame and a prompt of Qwen3-TTS have the shapes of the published 0.6B."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from onnx import ModelProto

from engines.assemble import open_bundle
from engines.families.bundle import Bundle as AnyBundle
from models.gpu_graphs import pocket_form, qwen3, qwen3_form
from models.gpu_graphs.attention import Attend
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from tests.dry_cuda.captures import Captured, capture
from tests.dry_cuda.log import Log
from tests.dry_cuda.shapes import published

TABLE = Path(__file__).with_name("family_nodes.json")
BUNDLES = Path(os.environ.get("DRY_BUNDLES", "/nowhere"))
POSITIONS, PREFILL = 256, 32
BUDGETS = {
    "qwen3 frame": 1400,  # 28 layers, 15 dependent steps of 5 layers, 16 draws
    "qwen3 prefill": 420,
    "qwen3 vocoder": 650,  # of the tiny checkpoint: 2 of 8 layers
    "pocket step": 200,
    "pocket prefill": 150,
    "pocket decoder": 300,
}
CASES = [(graph, rows) for graph in BUDGETS for rows in ((1,) if "prefill" in graph else (1, 8, 64))]
_found: dict[tuple[str, int, str], Captured] = {}


@cache
def bundle(family: str) -> AnyBundle:
    folder = BUNDLES / family / "bundle"
    if not folder.is_dir():
        pytest.skip(f"no bundle of {family} at hand: it needs torch, see tests/dry_cuda/run.py")
    return open_bundle(folder)


@cache
def model(graph: str, dtype: str) -> ModelProto:
    family: Any = bundle("qwen3_tts" if graph.startswith("qwen3") else "pocket")
    attend = Attend.CAUSAL if dtype == "float32" else Attend.GROUPED
    match graph:
        case "qwen3 frame":
            return qwen3.frame(weights(dtype), dtype, POSITIONS, attend)
        case "qwen3 prefill":
            return qwen3.prefill(weights(dtype), dtype, POSITIONS, PREFILL, attend)
        case "qwen3 vocoder":
            return qwen3_form.vocoder(family)
        case "pocket step":
            return pocket_form.step(family, dtype, POSITIONS)
        case "pocket prefill":
            return pocket_form.prefill(family, dtype, POSITIONS)
        case _:
            return pocket_form.decoder(family)


@cache
def weights(dtype: str) -> Qwen3Weights:
    """In other types than the served one a few layers do."""
    return published() if dtype == "float16" else published(layers=1, codebooks=3)


def captured(graph: str, rows: int, log: Log, dtype: str = "float16") -> Captured:
    key = graph, rows, dtype
    if key not in _found:
        made = model(graph, dtype)
        aliases = {one.name: one.name.removesuffix("_out") for one in made.graph.output if one.name.endswith("_out")}
        lengths = {"B": rows, "slots_held": rows + 1, "samples": 1920, "N": 1 << 12}
        _found[key] = capture(made, lengths, aliases, log)
    return _found[key]


@pytest.mark.parametrize(("graph", "rows"), CASES)
def test_a_capture_is_whole_and_within_its_budget(graph: str, rows: int, log: Log) -> None:
    found = captured(graph, rows, log)
    assert not found.disturbances
    assert found.nodes.total() <= BUDGETS[graph], found.nodes
    assert {direction for direction, _ in found.copies} <= {"D2D"}, "a replay would read the host's memory of then"
    if graph == "qwen3 frame":
        attends = sum(found.nodes[name] for name in ("kernel_mha", "flash_fwd_kernel"))
        assert attends == 28 + 15 * 5
        assert not [size for _, size in found.copies if size >= rows * POSITIONS * 128], "a cache was copied"


def test_nodes_are_those_of_the_committed_table(log: Log) -> None:
    found = {f"{graph} {rows}": dict(sorted(captured(graph, rows, log).nodes.items())) for graph, rows in CASES}
    if "DRY_UPDATE" in os.environ:
        TABLE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(TABLE.read_text())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("graph", ["qwen3 frame", "qwen3 prefill", "pocket step", "pocket prefill"])
def test_other_types_are_captured_too(graph: str, dtype: str, log: Log) -> None:
    found = captured(graph, 1 if "prefill" in graph else 2, log, dtype)
    assert not found.disturbances
    assert {direction for direction, _ in found.copies} <= {"D2D"}
