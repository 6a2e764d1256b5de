"""The parts, their steps and the time each may take. A step is one table and one process.

All boxes together stay under 20 minutes and each part under 10, so that a short lease of a machine can be used in
slices.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from loadtests.gpu.report import Table
from loadtests.gpu.setting import Setting

RunStep = Callable[[Setting, Table], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    title: str
    limit_s: float
    module: str  # in loadtests.gpu
    function: str

    def load(self) -> RunStep:
        run: RunStep = getattr(importlib.import_module(f"loadtests.gpu.{self.module}"), self.function)
        return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    number: int
    name: str
    title: str
    steps: tuple[Step, ...]

    @property
    def file_name(self) -> str:
        return f"{self.number}-{self.name}.json"


def _step(name: str, title: str, limit_s: float, module: str, function: str) -> Step:
    return Step(name=name, title=title, limit_s=limit_s, module=module, function=function)


PARTS = (
    Part(
        number=1,
        name="environment",
        title="Environment and ceilings",
        steps=(_step("ceilings", "Copy, matrix product, launches", 60, "environment", "run_ceilings"),),
    ),
    Part(
        number=2,
        name="qwen-frames",
        title="Qwen3-TTS shapes in torch",
        steps=(
            _step("frames", "One frame: talker, predictor, sampling, embeddings", 150, "qwen_frames", "run_frames"),
            _step("vocoder", "The causal vocoder, one frame", 45, "qwen_frames", "run_vocoder"),
            _step("prefill", "Prefill of the talker", 45, "qwen_frames", "run_prefill"),
            _step("compiled", "One frame with compiled layers", 180, "qwen_frames", "run_compiled"),
        ),
    ),
    Part(
        number=3,
        name="ort-cuda",
        title="ONNX Runtime CUDA",
        steps=(
            _step("load", "Does it load, and which nodes run where", 60, "ort_load", "run_load"),
            _step("attention", "Attention over a cache against float64", 90, "ort_attention", "run_attention"),
            _step("buckets-causal", "Captured steps: causal and length", 90, "ort_buckets", "run_causal_buckets"),
            _step("buckets-mask", "Captured steps: bool mask", 75, "ort_buckets", "run_mask_buckets"),
            _step("buckets-group", "Captured steps: GroupQueryAttention", 45, "ort_buckets", "run_group_buckets"),
        ),
    ),
    Part(
        number=4,
        name="verification",
        title="What verifying drafts costs",
        steps=(_step("verification", "S tokens per row in one step", 150, "verification", "run_verification"),),
    ),
    Part(
        number=5,
        name="host",
        title="The host beside the GPU",
        steps=(_step("host", "Python per step, thread or process, encoders", 60, "host", "run_host"),),
    ),
    Part(
        number=6,
        name="peer",
        title="A peer: continuous batching of transformers",
        steps=(_step("peer", "The same backbone, random weights", 120, "peer", "run_peer"),),
    ),
)


def find_step(name: str) -> tuple[Part, Step]:
    for part in PARTS:
        for step in part.steps:
            if step.name == name:
                return part, step
    raise SystemExit(f"no step is called {name!r}; the steps are {[s.name for p in PARTS for s in p.steps]}")
