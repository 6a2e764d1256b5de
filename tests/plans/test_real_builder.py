"""The graphs through a real builder, that of TensorRT-RTX, which needs no GPU; and each call of ours against the real
Python layer of TensorRT 11. `make test-tensorrt` brings both."""

from __future__ import annotations

import ast
import ctypes
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

pytest.importorskip("onnx")

from onnx import TensorProto

from engines.assemble import open_bundle
from engines.errors import BundleError
from engines.families.phone_pointer.bundle import load_bundle
from engines.families.shipped import SHIPPED
from engines.runtime import tensorrt, tensorrt_build
from engines.runtime.tensorrt_build import Plan, build
from models.gpu_graphs import qwen3_plans
from models.gpu_graphs.building import DeviceGraph
from models.gpu_graphs.planned import Planned
from models.gpu_graphs.qwen3_weights import Qwen3Weights
from models.gpu_graphs.writing import save
from models.tensorrt_plans import DTYPES, planned
from tests.dry_cuda.shapes import published

# Its timing cache is there and times nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")


@pytest.fixture(scope="module")
def rtx() -> Any:
    pytest.importorskip("tensorrt_rtx_libs", reason="TensorRT-RTX is not installed; `make test-tensorrt` brings it")
    return pytest.importorskip("tensorrt_rtx_bindings")


@cache
def shipped(bundle: str) -> dict[str, Planned]:
    return {name: make() for name, make in planned(load_bundle(Path(bundle))).items()}


def of(rtx: Any, one: Planned, **how: Any) -> Plan:
    with TemporaryDirectory() as folder:
        save({"graph": one.model}, Path(folder))
        return build(
            rtx, Path(folder, "graph.onnx"), one.input_shapes, one.profiles, decomposable=one.decomposable, **how
        )


def attention(layers: int) -> dict[str, int]:
    return {"KV_CACHE_UPDATE": 2 * layers, "ATTENTION_OUTPUT": layers, "ROTARY_EMBEDDING": 2 * layers}


@pytest.mark.parametrize("bundle", SHIPPED)
def test_the_speech_lm_builds_with_three_profiles(rtx: Any, bundle: str) -> None:
    lm = shipped(bundle)["lm"]
    assert len(lm.profiles) == 3
    seen: list[tuple[str, float]] = []
    plan = of(rtx, lm, progress=lambda phase, share: seen.append((phase, share)))
    assert {kind: plan.layers[kind] for kind in attention(6)} == attention(load_bundle(Path(bundle)).lm.layers)
    assert len(plan.content) > 1_000_000
    assert seen[-1][1] == 1.0


@pytest.mark.parametrize("bundle", SHIPPED)
@pytest.mark.parametrize("name", ["drafts", "vocoder"])
def test_draft_heads_and_vocoder_build(rtx: Any, name: str, bundle: str) -> None:
    plan = of(rtx, shipped(bundle)[name])
    assert len(plan.content) > 1_000_000
    assert plan.layers["CONVOLUTION"] == (0 if name == "drafts" else 9)


# A frame of Qwen3-TTS has 15 dependent steps of 5 layers: here three of them, at the published widths.
LAYERS, CODEBOOKS, INNER_LAYERS = 2, 4, 5
POSITIONS = 512


@cache
def qwen3() -> Qwen3Weights:
    return published(layers=LAYERS, codebooks=CODEBOOKS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_frame_of_qwen3_tts_builds(rtx: Any, dtype: str) -> None:
    """Talker, predictor and sampling in one plan; only the talker's cache is one, since a frame forgets the other."""
    plan = of(rtx, qwen3_plans.frame_plan(qwen3(), dtype, POSITIONS))
    attends = LAYERS + (CODEBOOKS - 1) * INNER_LAYERS
    assert plan.layers["KV_CACHE_UPDATE"] == 2 * LAYERS
    assert plan.layers["ATTENTION_OUTPUT"] == attends
    assert plan.layers["ROTARY_EMBEDDING"] == 2 * attends
    assert plan.layers["TOPK"] == 2 * CODEBOOKS  # the likeliest, and the one that noise makes first


@pytest.mark.timeout(600)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_prompt_of_qwen3_tts_builds(rtx: Any, dtype: str) -> None:
    plan = of(rtx, qwen3_plans.prefill_plan(qwen3(), dtype, POSITIONS))
    assert {kind: plan.layers[kind] for kind in attention(LAYERS)} == attention(LAYERS)


def exported(family: str) -> Any:
    folder = Path(os.environ.get("PLANS_BUNDLES", "/nowhere"), family, "bundle")
    if not folder.is_dir():
        pytest.skip(f"no bundle of {family} at hand: it needs torch, see tests/plans/run.py")
    return open_bundle(folder)


@pytest.mark.timeout(600)
def test_the_vocoder_of_qwen3_tts_builds(rtx: Any) -> None:
    bundle = exported("qwen3_tts")
    plan = of(rtx, qwen3_plans.vocoder_plan(bundle))
    assert plan.layers["SCATTER"] == len(bundle.qwen3_tts.vocoder.states)
    assert plan.layers["SOFTMAX"] == 2  # the tiny checkpoint's layers of attention


@pytest.mark.timeout(600)
def test_pocket_tts_builds(rtx: Any) -> None:
    bundle = exported("pocket")
    made = {name: of(rtx, make()) for name, make in planned(bundle).items()}
    layers = bundle.lm.layers
    assert {kind: made["step"].layers[kind] for kind in attention(layers)} == attention(layers)
    assert made["prefill"].layers["KV_CACHE_UPDATE"] == 2 * layers
    assert made["decoder"].layers["SCATTER"] == len(bundle.decoder.states)


def test_attention_in_float32_has_no_kernel(rtx: Any) -> None:
    """Why a GPU form in float32 is refused."""
    with pytest.raises(BundleError, match=r"TensorRT builds no plan: .*[Aa]ttention"):
        of(rtx, qwen3_plans.prefill_plan(qwen3(), "float32", POSITIONS))


def test_an_input_that_the_parser_drops_is_refused(rtx: Any) -> None:
    """Attention's own lengths: the plan would be built without them, and be wrong."""
    graph = DeviceGraph("float16")
    ends = [graph.input(name, graph.type, ["B", 2, size, 64]) for name, size in (("q", 1), ("k", 64), ("v", 64))]
    lengths = graph.input("lengths", TensorProto.INT64, ["B"])
    graph.node(
        "Attention", [*ends, "", "", "", lengths], graph.output("mixed", graph.type, ["B", 2, 1, 64]), is_causal=1
    )
    with pytest.raises(BundleError, match=r"would leave an input unread: .*lengths"):
        of(rtx, Planned(model=graph.model("lengths"), profiles=({"B": (1, 4, 8)},), parts={}))


def test_what_cannot_be_parsed_is_told_in_the_parsers_words(rtx: Any, tmp_path: Path) -> None:
    (tmp_path / "no graph").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r".{10}"):
        build(rtx, tmp_path / "no graph", {}, [])


# -- each call of ours exists in TensorRT 11

# Which of TensorRT's classes a name of ours holds.
HOLDS = {
    "attention": "IAttention",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "engine": "ICudaEngine",
    "layer": "IAttentionOutputLayer",
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
