"""The parts, their steps and the time each may take. A step is one table and one process.

The first four need a minute or two and say whether anything later can be believed. All boxes together stay under 25
minutes, so that a short lease of a machine can be used in slices.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.gpu_check.report import Table
from tests.gpu_check.setting import Setting

RunStep = Callable[[Setting, Table], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    title: str
    limit_s: float
    module: str  # in tests.gpu_check
    function: str

    def load(self) -> RunStep:
        run: RunStep = getattr(importlib.import_module(f"tests.gpu_check.{self.module}"), self.function)
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
        number=0,
        name="doctor",
        title="What serving finds on this machine",
        steps=(_step("doctor", "parlando doctor", 60, "basics", "run_doctor"),),
    ),
    Part(
        number=1,
        name="self-test",
        title="Load, placement and the golden self-test",
        steps=(_step("self-test", "The shipped voice", 90, "basics", "run_self_test"),),
    ),
    Part(
        number=2,
        name="kernels",
        title="Captured kernels against the table of the dry run",
        steps=(_step("kernels", "By graph and bucket", 120, "kernels", "run_kernels"),),
    ),
    Part(
        number=3,
        name="traps",
        title="Traps on the device against the double",
        steps=(_step("traps", "What the device does where a guard of ours stands", 60, "traps", "run_traps"),),
    ),
    Part(
        number=4,
        name="buckets",
        title="Every bucket of the shipped voice",
        steps=(_step("buckets", "Replay time, host time, memory", 120, "buckets", "run_buckets"),),
    ),
    Part(
        number=5,
        name="engine",
        title="The engine alone",
        steps=(_step("engine", "1 to 512 streams at once", 180, "engine", "run_engine"),),
    ),
    Part(
        number=6,
        name="server",
        title="The server under open-loop load",
        steps=(_step("server", "WebSocket, Poisson arrivals", 240, "serving", "run_server"),),
    ),
    Part(
        number=7,
        name="qwen",
        title="Qwen3-TTS shapes on ONNX Runtime",
        steps=(_step("qwen", "Captured frames and prompts", 120, "qwen", "run_qwen"),),
    ),
    Part(
        number=8,
        name="torch",
        title="The same frames in torch, a yardstick",
        steps=(_step("torch", "Captured frames", 120, "torch_frames", "run_frames"),),
    ),
    Part(
        number=9,
        name="peer",
        title="A peer: continuous batching of transformers",
        steps=(_step("peer", "The same backbone, random weights", 120, "peer", "run_peer"),),
    ),
    Part(
        number=10,
        name="tensorrt",
        title="TensorRT's plans of the shipped voice",
        steps=(_step("tensorrt", "Built here, tested by the goldens, timed", 240, "plans", "run_plans"),),
    ),
)


def find_step(name: str) -> tuple[Part, Step]:
    for part in PARTS:
        for step in part.steps:
            if step.name == name:
                return part, step
    raise SystemExit(f"no step is called {name!r}; the steps are {[s.name for p in PARTS for s in p.steps]}")
