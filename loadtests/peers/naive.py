"""Part (d): the gain of batching. The same bundle in the same process, one request at a time and all at once.

Both ways take turns, and their audio must be the same bytes.
"""

from __future__ import annotations

import statistics
from typing import Any

from loadtests.peers import record
from loadtests.peers.record import Places
from loadtests.peers.worker import Worker

REQUESTS = 16


def summary(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Medians and spread over rounds of each way, and the gain round by round."""
    ways: dict[str, Any] = {}
    for way in ("naive", "batched"):
        of_way = [one[way] for one in rounds]
        ways[way] = {
            "audio_s_per_cpu_s": record.spread([one["audio_s"] / one["cpu_s"] for one in of_way]),
            "audio_s_per_wall_s": record.spread([one["audio_s"] / one["wall_s"] for one in of_way]),
            "ttfa_ms_p50": record.spread([1000 * statistics.median(one["ttfa_s"]) for one in of_way]),
            "ttfa_ms_p95": record.spread([1000 * record.percentile(one["ttfa_s"], 0.95) for one in of_way]),
        }
    ways["gain"] = {
        "cpu": record.spread([one["naive"]["cpu_s"] / one["batched"]["cpu_s"] for one in rounds]),
        "wall": record.spread([one["naive"]["wall_s"] / one["batched"]["wall_s"] for one in rounds]),
    }
    return ways


def run(places: Places) -> dict[str, Any]:
    rounds = []
    with Worker([places.serving, "-m", "models.bench.batching"]) as ours:
        jobs = {way: {"way": way, "requests": REQUESTS} for way in ("naive", "batched")}
        for job in jobs.values():
            ours.ask(job)  # warm
        for _ in range(2 if places.quick else 7):
            rounds.append({way: ours.ask(job) for way, job in jobs.items()})
            if rounds[-1]["naive"]["digest"] != rounds[-1]["batched"]["digest"]:
                raise RuntimeError("one at a time and all at once gave different audio")
    figures = {"bundle": rounds[0]["naive"]["bundle"], "requests": REQUESTS, "rounds": len(rounds)}
    figures["audio_s_of_a_round"] = rounds[0]["naive"]["audio_s"]
    return figures | summary(rounds) | {"versions": record.versions(places.serving, ["onnxruntime", "numpy"])}
