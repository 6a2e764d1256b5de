"""The graphs through a real builder, that of TensorRT-RTX, which needs no GPU; and each call of ours against the real
Python layer of TensorRT 11. `make test-tensorrt` brings both."""

from __future__ import annotations

import ast
import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import ModelProto, TensorProto

from engines.errors import BundleError
from engines.families.phone_pointer.bundle import load_bundle
from engines.runtime import tensorrt, tensorrt_build
from engines.runtime.tensorrt_build import Plan, Range, build
from models.gpu_graphs.building import DeviceGraph
from models.gpu_graphs.mask_form import MaskLayer, MaskLayers, MaskShape
from models.gpu_graphs.standard import in_standard_operators
from models.tensorrt_plans import Planned, planned

BUNDLE = load_bundle()
# Its timing cache is there and times nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


@pytest.fixture(scope="module")
def rtx() -> Any:
    pytest.importorskip("tensorrt_rtx_libs", reason="TensorRT-RTX is not installed; `make test-tensorrt` brings it")
    return pytest.importorskip("tensorrt_rtx_bindings")


@cache
def all_planned() -> dict[str, Planned]:
    return planned(BUNDLE)


def of(rtx: Any, one: Planned) -> Plan:
    return build(rtx, one.model.SerializeToString(), one.input_shapes, one.profiles)


def attention(layers: int) -> dict[str, int]:
    return {"KV_CACHE_UPDATE": 2 * layers, "ATTENTION_OUTPUT": layers, "ROTARY_EMBEDDING": 2 * layers}


def test_the_speech_lm_builds_with_three_profiles(rtx: Any) -> None:
    lm = all_planned()["lm"]
    assert len(lm.profiles) == 3
    seen: list[tuple[str, float]] = []
    plan = build(
        rtx,
        lm.model.SerializeToString(),
        lm.input_shapes,
        lm.profiles,
        progress=lambda phase, share: seen.append((phase, share)),
    )
    assert {kind: plan.layers[kind] for kind in attention(6)} == attention(BUNDLE.lm.layers)
    assert len(plan.content) > 1_000_000
    assert seen[-1][1] == 1.0


@pytest.mark.parametrize("name", ["drafts", "vocoder"])
def test_draft_heads_and_vocoder_build(rtx: Any, name: str) -> None:
    plan = of(rtx, all_planned()[name])
    assert len(plan.content) > 1_000_000
    assert plan.layers["CONVOLUTION"] == (0 if name == "drafts" else 9)


@pytest.mark.timeout(600)
def test_qwen3_shapes_build_with_three_profiles(rtx: Any) -> None:
    plan = of(rtx, qwen3(layers=2, width=1024, inner=3072, heads=16, kv_heads=8, head_dim=128, positions=512))
    assert {kind: plan.layers[kind] for kind in attention(2)} == attention(2)


def test_an_input_that_the_parser_drops_is_refused(rtx: Any) -> None:
    """Attention's own lengths: the plan would be built without them, and be wrong."""
    graph = DeviceGraph("float16")
    ends = [graph.input(name, graph.type, ["B", 2, size, 64]) for name, size in (("q", 1), ("k", 64), ("v", 64))]
    lengths = graph.input("lengths", TensorProto.INT64, ["B"])
    graph.node(
        "Attention", [*ends, "", "", "", lengths], graph.output("mixed", graph.type, ["B", 2, 1, 64]), is_causal=1
    )
    model = graph.model("lengths")
    shapes = {one.name: _shape(one) for one in model.graph.input}
    with pytest.raises(BundleError, match=r"would leave an input unread: .*lengths"):
        build(rtx, model.SerializeToString(), shapes, [{"B": (1, 4, 8)}])


def test_what_cannot_be_parsed_is_told_in_the_parsers_words(rtx: Any) -> None:
    with pytest.raises(BundleError, match=r".{10}"):
        build(rtx, b"no graph", {}, [])


def _shape(one: Any) -> tuple[int | str, ...]:
    return tuple(axis.dim_param or axis.dim_value for axis in one.type.tensor_type.shape.dim)


def qwen3(layers: int, width: int, inner: int, heads: int, kv_heads: int, head_dim: int, positions: int) -> Planned:
    """Decoder layers of these sizes with random weights, x [B, S, width] -> [B, S, width]."""
    graph, rng = DeviceGraph("float16"), np.random.default_rng(0)
    x = graph.input("x", graph.type, ["B", "S", width])
    shape = MaskShape(
        heads=heads, kv_heads=kv_heads, head_dim=head_dim, positions=positions, scale=head_dim**-0.5, epsilon=1e-6
    )
    angles = np.arange(positions)[:, None] * 1e6 ** -(np.arange(head_dim // 2) / (head_dim // 2))
    made, h = MaskLayers(graph, shape, np.cos(angles), np.sin(angles)), x

    def matrix(inputs: int, outputs: int) -> Any:
        return rng.standard_normal((inputs, outputs), np.float32) / inputs**0.5

    for at in range(layers):
        layer = MaskLayer(
            packed=matrix(width, (heads + 2 * kv_heads) * head_dim),
            out=matrix(heads * head_dim, width),
            mlp_norm=np.ones(width),
            gate_up=matrix(width, 2 * inner),
            down=matrix(inner, width),
            next_norm=np.ones(width),
            head_norms=(np.ones(head_dim), np.ones(head_dim)),
        )
        x, h = made.run(at, layer, x, h)
    graph.node("Add", [x, h], graph.output("out", graph.type, ["B", "S", width]))
    profiles: tuple[dict[str, Range], ...] = (
        {"B": (1, 8, 64), "S": (1, 1, 1)},
        {"B": (1, 8, 16), "S": (2, 5, 8)},
        {"B": (1, 2, 4), "S": (8, 32, 64)},
    )
    model: ModelProto = in_standard_operators(graph.model("qwen3 layers"))
    return Planned(model=model, profiles=profiles, parts={})


# -- each call of ours exists in TensorRT 11

# Which of TensorRT's classes a name of ours holds.
HOLDS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "trt_context": "IExecutionContext",
    "_context": "IExecutionContext",
    "_runtime": "Runtime",
    "timings": "ITimingCache",
}
SOURCES = (Path(tensorrt.__file__), Path(tensorrt_build.__file__))
_STUB = "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL getPluginRegistry "
_STUB += (
    "createNvOnnxParserRefitter_INTERNAL createNvOnnxParser_INTERNAL getBuilderPluginRegistry initLibNvInferPlugins "
)
_STUB += "getNvOnnxParserVersion"


@pytest.fixture(scope="module")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """TensorRT 11's Python layer over libraries that hold its entry points and nothing behind them."""
    import importlib.util

    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("TensorRT's Python layer is not installed; `make test-tensorrt` brings it")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler for the libraries that stand in for TensorRT's own")
    folder = tmp_path_factory.mktemp("stubs")
    source = folder / "stubs.c"
    source.write_text("".join(f"void* {name}(void) {{ return 0; }}\n" for name in _STUB.split()))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        library = folder / f"lib{name}.so.11"
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", str(source), "-o", str(library)]
        subprocess.run(command, check=True)
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    return importlib.import_module("tensorrt_bindings")


def calls() -> set[tuple[str, str]]:
    """(class or "", attribute) of all that our sources ask of TensorRT."""
    found: set[tuple[str, str]] = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name == "trt":
                found.add(("", node.attr))
            elif name in HOLDS:
                found.add((HOLDS[name], node.attr))
            elif isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name) and owner.value.id == "trt":
                found.add((owner.attr, node.attr))
    return found


def test_every_class_that_we_use_is_asked_something() -> None:
    asked = {owner for owner, _ in calls()}
    assert set(HOLDS.values()) <= asked
    assert {
        ("IExecutionContext", "execute_async_v3"),
        ("IBuilderConfig", "set_timing_cache"),
        ("", "Runtime"),
    } <= calls()
    assert ("IExecutionContext", "set_tensor_address") in calls()


def test_lengths_are_never_given_to_an_attention() -> None:
    assert not [source for source in SOURCES if "key_value_lengths" in source.read_text()]


def test_each_call_exists_in_tensorrt_11(bindings: Any) -> None:
    assert bindings.__version__.startswith("11.")
    missing = [
        (owner, name)
        for owner, name in sorted(calls())
        if not hasattr(getattr(bindings, owner) if owner else bindings, name)
    ]
    assert missing == []
