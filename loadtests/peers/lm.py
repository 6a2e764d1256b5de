"""Part (a): decode steps of our LM graph on ONNX Runtime against llama.cpp at one shape, taking turns.

llama.cpp's settings are searched first (flash attention, shared or separate caches, cache type); then both sides run in
turns at one and at two threads, ours in int8 with either cache, theirs in float32 and in the two forms that the search
found fastest, several rounds, and each side's best stands in the table. A ratio is that of the two medians; `rounds`
keeps the ratio of every round. Like is compared with like (float32), and best with best.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtests.peers import gguf_file, record
from loadtests.peers.gguf_file import Shape
from loadtests.peers.record import Places
from loadtests.peers.worker import Worker

SHAPES = {
    "peer": Shape(),
    "shipped": Shape(width=256, layers=6, heads=4, kv_heads=1, hidden=640),
}
BATCHES, CONTEXTS, THREADS = (1, 16), (64, 256), (1, 2)
OURS = {  # by graph: who, and the setting beside its threads
    "lm.onnx": ("ours fp32", ""),
    "lm-int8.onnx": ("ours int8", " cache=f32"),
    "lm-int8-half.onnx": ("ours int8", " cache=f16"),
}
_CACHES = (("f16", False), ("f16", True), ("q8_0", True), ("f32", True))  # cache type, flash attention

Job = dict[str, Any]


def search(llama: Worker, job: Job, seconds: float) -> tuple[float, Job]:
    """Cache type and flash attention together, then, with several sequences, whether they share one cache."""

    def step_ms(settings: Job) -> float:
        asked = job | settings | {"threads": max(THREADS), "seconds": seconds}
        return float(min(llama.ask(asked).get("step_ms", math.inf) for _ in range(2)))

    kinds: list[Job] = [{"cache": cache, "flash": flash, "unified": False} for cache, flash in _CACHES]
    tried = [(step_ms(one), one) for one in kinds]
    if job["batch"] > 1:
        shared = min(tried, key=_time)[1] | {"unified": True}
        tried.append((step_ms(shared), shared))
    best = min(tried, key=_time)
    if math.isinf(best[0]):
        raise RuntimeError(f"llama.cpp ran with no setting at {job}")
    return best


def _time(tried: tuple[float, Job]) -> float:
    return tried[0]


def write_files(places: Places, shape: Shape, folder: Path) -> Job:
    """Our graphs and theirs, random weights. Returns what our exporter says of the shape."""
    sizes = {"width": shape.width, "layers": shape.layers, "heads": shape.heads}
    sizes |= {"kv-heads": shape.kv_heads, "hidden": shape.hidden}
    arguments = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    command = [places.training, "-m", "models.bench.lm_graph", str(folder / "lm.onnx"), *arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (folder / "shape.json").write_text(printed)
    for graph, cache in (("lm-int8.onnx", "float"), ("lm-int8-half.onnx", "half")):
        files = [str(folder / "lm.onnx"), str(folder / graph)]
        subprocess.run([places.training, "-m", "models.bench.lm_int8", *files, cache], check=True)
    for weights in gguf_file.WEIGHTS:
        gguf_file.write(folder / f"{weights}.gguf", shape, weights)
    described: Job = json.loads(printed)
    return described


def take_turns(rivals: dict[str, tuple[Worker, Job]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Step times in ms by rival, one of each round."""
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for round_ in range(rounds):
        order = list(rivals) if round_ % 2 == 0 else list(reversed(rivals))
        for name in order:
            worker, job = rivals[name]
            times[name].append(worker.ask(job | {"seconds": seconds})["step_ms"])
    return times


def table_row(batch: int, times: dict[str, list[float]]) -> dict[str, Any]:
    """Rivals are named "who, n threads"; each is judged at its better thread count."""
    best: dict[str, tuple[float, str]] = {}
    for name, values in times.items():
        who = name.partition(",")[0]
        best[who] = min(best.get(who, (float("inf"), "")), (statistics.median(values), name))
    rows = {
        who: {
            "step_ms": record.spread(times[name]),
            "tokens_per_s": round(1000 * batch / middle, 1),
            "setting": name.partition(",")[2].strip(),
        }
        for who, (middle, name) in best.items()
    }
    llama = min((who for who in best if who.startswith("llama")), key=lambda who: best[who][0])
    ratios = {}
    for who in (who for who in best if who.startswith("ours")):
        pairs = {"llama.cpp f32": "llama f32", "llama.cpp best": llama}
        for label, rival in pairs.items():
            ratios_by_round = [b / a for a, b in zip(times[best[who][1]], times[best[rival][1]], strict=True)]
            middle = best[rival][0] / best[who][0]
            ratios[f"{who} against {label}"] = {
                "of_medians": round(middle, 3),
                "rounds": record.spread(ratios_by_round),
            }
    return {"rivals": rows, "llama_best_is": llama, "ratios": ratios}


def measure(places: Places, shape: Shape, folder: Path) -> dict[str, Any]:
    described = write_files(places, shape, folder)
    cells = []
    with contextlib.ExitStack() as stack:
        llama = stack.enter_context(Worker([places.peers, "-m", "loadtests.peers.llama_step", str(folder)]))
        command = [places.serving, "-m", "models.bench.lm_step", str(folder / "shape.json")]
        ours = {file: stack.enter_context(Worker([*command, str(folder / file)])) for file in OURS}
        for batch in BATCHES:
            for context in CONTEXTS:
                job: Job = {"batch": batch, "context": context}
                print(f"peers: {shape.width} wide, {job}", file=sys.stderr)
                cells.append(job | cell(llama, ours, job, places.quick))
    return {"shape": asdict(shape), "parameters": shape.parameters, "our_parameters": described, "cells": cells}


def cell(llama: Worker, ours: dict[str, Worker], job: Job, quick: bool) -> Job:
    """One batch size and context: llama.cpp's settings, then the turns of ours, float32 and its fastest weights."""
    rounds, seconds = (3, 0.15) if quick else (7, 0.4)
    found = {one: search(llama, job | {"weights": one}, seconds / 3) for one in gguf_file.WEIGHTS}
    fastest = sorted((one for one in found if one != "f32"), key=lambda one: found[one][0])[:2]
    rivals: dict[str, tuple[Worker, Job]] = {}
    for threads in THREADS:
        at = job | {"threads": threads}
        for file, worker in ours.items():
            who, setting = OURS[file]
            rivals[f"{who}, {threads} threads{setting}"] = (worker, at)
        for weights in ("f32", *fastest):
            chosen = found[weights][1]
            words = " ".join(f"{key}={value}" for key, value in chosen.items())
            rivals[f"llama {weights}, {threads} threads {words}"] = (llama, at | chosen | {"weights": weights})
    searched = {weights: round(step_ms, 4) for weights, (step_ms, _) in found.items()}
    return {"searched_ms": searched} | table_row(job["batch"], take_turns(rivals, rounds, seconds))


def run(places: Places) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = measure(places, shape, Path(folder))
    figures["weights"] = "random; ours fp32 is what the exporter writes today; ours int8 is the same graph with int8 "
    figures["weights"] += "weights and activations at fixed, uncalibrated scales, its cache float as in the shipped "
    figures["weights"] += "bundle or half, whichever is faster"
    figures["versions"] = record.versions(places.serving, ["onnxruntime", "numpy"]) | record.versions(
        places.peers, ["llama-cpp-python", "gguf"]
    )
    return figures
