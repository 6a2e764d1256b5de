"""Each graph of the GPU form, captured by the real provider: all on the device, nothing copied from the host, within
its budget of nodes. `nodes.json` holds the counts by kernel; DRY_UPDATE=1 writes it anew."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import pytest

onnx = pytest.importorskip("onnx")

from engines.families.phone_pointer.bundle import Bundle, load_bundle
from models.gpu_graphs.lm import Attend, decode, verify
from models.gpu_graphs.synthesis import HOPS
from models.gpu_graphs.vocoder import state_shapes, vocoder
from models.gpu_graphs.weights import LmWeights, VocoderWeights
from tests.dry_cuda.captures import Captured, capture
from tests.dry_cuda.log import Log
from tests.dry_cuda.voice import form

TABLE = Path(__file__).with_name("nodes.json")
POSITIONS, SLOTS, NOISE = 760, 600, 1 << 16
BUDGETS = {"decode": 110, "verify": 200, "vocoder": 250}
BUCKETS = [1 << power for power in range(10)]  # all that serving captures with up to 512 slots
STEPS, CODES = 5, 8  # of the largest verification and job; smaller ones at one and at many rows
SMALLER = [f"verify of {steps}" for steps in (2, 3, 4)] + [f"vocoder of {codes}" for codes in (1, 2, 4)]
ATTENTION = {  # XQA; flash attention over lengths, split where rows alone do not fill the device
    "decode": {"kernel_mha"},
    "verify": {"flash_fwd_splitkv_kernel", "flash_fwd_kernel"},
}
CASES = [(graph, rows) for graph in BUDGETS for rows in BUCKETS]
CASES += [(graph, rows) for graph in SMALLER for rows in (1, 64)]
_found: dict[tuple[str, int, str], Captured] = {}


@cache
def bundle() -> Bundle:
    return load_bundle(Path("flite"))


@cache
def weights() -> tuple[LmWeights, VocoderWeights]:
    return LmWeights.of(bundle()), VocoderWeights.of(bundle())


def captured_graph(graph: str, rows: int, log: Log, dtype: str = "float16") -> Captured:
    key = graph, rows, dtype
    if key not in _found:
        _found[key] = _captured(graph, rows, log, dtype)
    return _found[key]


def _captured(graph: str, rows: int, log: Log, dtype: str) -> Captured:
    lm, sound = weights()
    lengths = {"B": rows, "N": NOISE}
    kind, _, size = graph.partition(" of ")
    match kind:
        case "decode":
            model, aliases = decode(lm, dtype, POSITIONS, _attend(dtype)), {"last_out": "last"}
        case "verify":
            model, aliases = verify(lm, dtype, POSITIONS, int(size or STEPS)), {}
        case _:
            codes, model = int(size or CODES), vocoder(sound, dtype)
            frames = codes * bundle().frames_per_code
            aliases = {"state_out": "state", "phase_out_slots": "phase"}
            lengths = {"R": rows, "F": codes, "N": frames, "M": frames + HOPS - 1, "slots": SLOTS, "T": NOISE}
            lengths["state"] = sum(map(_size, state_shapes(sound)))
    return capture(model, lengths, aliases, log)


def _attend(dtype: str) -> Attend:
    return Attend.CAUSAL if dtype == "float32" else Attend.GROUPED


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@pytest.mark.parametrize(("graph", "rows"), CASES)
def test_a_capture_is_whole_and_within_its_budget(graph: str, rows: int, log: Log) -> None:
    found = captured_graph(graph, rows, log)
    assert not found.disturbances
    kind = graph.partition(" of ")[0]
    assert found.nodes.total() <= BUDGETS[kind], found.nodes
    assert {direction for direction, _ in found.copies} <= {"D2D"}, "a replay would read the host's memory of then"
    if kind in ATTENTION:
        assert sum(found.nodes[name] for name in ATTENTION[kind]) == bundle().lm.layers
    cache_bytes = rows * POSITIONS * bundle().lm.head_dim * 2
    assert all(size < cache_bytes / 4 for _, size in found.copies), found.copies


def test_nodes_are_those_of_the_committed_table(log: Log) -> None:
    """By kernel and bucket. A version of the provider that chooses others is noticed here."""
    found = {f"{graph} {rows}": dict(sorted(captured_graph(graph, rows, log).nodes.items())) for graph, rows in CASES}
    if "DRY_UPDATE" in os.environ:
        TABLE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(TABLE.read_text())


@pytest.mark.parametrize("graph", list(BUDGETS))
def test_the_float32_form_is_captured_too(graph: str, log: Log) -> None:
    """For a device's own check of its arithmetic. GroupQueryAttention has no float32 kernel there."""
    found = captured_graph(graph, 2, log, "float32")
    assert not found.disturbances
    assert {direction for direction, _ in found.copies} <= {"D2D"}


@pytest.mark.parametrize("graph", ["decode", "verify-2", "vocoder"])
def test_slices_have_constant_bounds(graph: str) -> None:
    """The provider's Slice returns its input whole where a bound is computed (onnxruntime #32083)."""
    model = onnx.load(form().graph(graph))
    known = {one.name for one in model.graph.initializer}
    known |= {name for one in model.graph.node if one.op_type == "Constant" for name in one.output}
    slices = [one for one in model.graph.node if one.op_type == "Slice"]
    assert len(slices) == (2 if graph == "vocoder" else 0)
    assert all(name in known for one in slices for name in one.input[1:])


def test_float32_grouped_attention_is_refused(log: Log) -> None:
    lm, _ = weights()
    with pytest.raises(Exception, match="have not been partitioned to the CUDAExecutionProvider"):
        capture(decode(lm, "float32", POSITIONS), {"B": 1, "N": NOISE}, {}, log)
