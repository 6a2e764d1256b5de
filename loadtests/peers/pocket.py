"""Part (b): pocket-tts' model classes with random weights in their own step loop, against our bundle in its engine.

One stream at a time on both sides, taking turns, with equal lengths of audio: ours speaks a text first, then pocket-tts
makes as much (to a frame of 80 ms). Its int8 form and one or two torch threads are tried; each size stands with
its cheapest form. Ours with 16 requests at once is reported beside it, since pocket-tts serves one at a time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
from typing import Any

from loadtests.peers import record
from loadtests.peers.record import Places
from loadtests.peers.worker import Worker

SIZES = ("2M", "100M")
TEXTS = 4  # of our side's worker
STREAMS = 16

Job = dict[str, Any]


def forms() -> dict[str, Job]:
    """Everything of theirs that is tried, by name."""
    return {
        f"pocket-tts {model}, {'int8' if int8 else 'float32'}, torch threads {threads}": {
            "model": model,
            "int8": int8,
            "threads": threads,
        }
        for model in SIZES
        for int8 in (False, True)
        for threads in (1, 2)
    }


def summary(runs: list[Job]) -> Job:
    """Medians and spread over the runs of one form."""
    return {
        "ttfa_ms": record.spread([1000 * one["ttfa_s"] for one in runs]),
        "rtf": record.spread([one["wall_s"] / one["audio_s"] for one in runs]),
        "cpu_s_per_audio_s": record.spread([one["cpu_s"] / one["audio_s"] for one in runs]),
        "audio_s": round(sum(one["audio_s"] for one in runs), 2),
    }


def cheapest(figures: dict[str, Job], model: str) -> str:
    """The form of a size with the least CPU time for a second of audio."""
    named = [
        name for name in figures if name.startswith(f"pocket-tts {model},") and "cpu_s_per_audio_s" in figures[name]
    ]
    return min(named, key=lambda name: figures[name]["cpu_s_per_audio_s"]["median"])


def run(places: Places) -> Job:
    if importlib.util.find_spec("pocket_tts") is None:
        return {"skipped": "pocket-tts is not in the benchmark's environment"}
    rounds = 2 if places.quick else 2 * TEXTS
    runs: dict[str, list[Job]] = {name: [] for name in ("ours", f"ours, {STREAMS} at once", *forms())}
    failures: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker([places.serving, "-m", "models.bench.batching"]))
        pocket = stack.enter_context(Worker([places.peers, "-m", "loadtests.peers.pocket_step"]))
        for round_ in range(-1, rounds):  # the first is a warm-up
            first = max(0, round_) % TEXTS
            alone = ours.ask({"way": "naive", "requests": 1, "first": first})
            many = ours.ask({"way": "batched", "requests": STREAMS, "first": first})
            answers = {"ours": alone | {"ttfa_s": alone["ttfa_s"][0]}}
            answers[f"ours, {STREAMS} at once"] = many | {"ttfa_s": record.percentile(many["ttfa_s"], 0.95)}
            for name, form in forms().items():
                if name not in failures:
                    answers[name] = pocket.ask(form | {"audio_s": alone["audio_s"], "words": alone["words"]})
                if "error" in answers.get(name, {}):
                    failures[name] = answers.pop(name)["error"]
            for name, answer in answers.items():
                if round_ >= 0:
                    runs[name].append(answer)
    figures: dict[str, Job] = {name: summary(done) for name, done in runs.items() if done}
    for name in figures:
        if "float32" in name:
            figures[name]["parameters"] = runs[name][0]["parameters"]
    best = {model: cheapest(figures, model) for model in SIZES}
    cost = statistics.median(one["cpu_s"] / one["audio_s"] for one in runs["ours"])
    times = {model: round(figures[name]["cpu_s_per_audio_s"]["median"] / cost, 2) for model, name in best.items()}
    versions = record.versions(places.serving, ["onnxruntime"]) | record.versions(places.peers, ["pocket-tts", "torch"])
    return {
        "weights": "pocket-tts: random, its shipped configurations; ours: the shipped bundle",
        "rounds": rounds,
        "forms": figures,
        "failed": failures,
        "cheapest": best,
        "cpu_of_cheapest_over_ours": times,
        "versions": versions,
    }
