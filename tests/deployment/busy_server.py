"""The server's own metrics, as a server exposes them whose every figure moves."""

from __future__ import annotations

import os
from typing import get_args

from engines.messages import EngineStats, Tally
from server.metrics import Metrics, Protocol


def metrics() -> Metrics:
    made = Metrics()
    made.watch(draining=lambda: False, engine_pids=[os.getpid])
    made.engine_info.labels("parlando", "0.1.0", "0").set(1)
    made.take_engine(0, engine(1), 0)
    return made


def engine(rounds: int) -> EngineStats:
    tally = Tally(bounds=(0.01, 1.0), counts=(rounds, rounds, 0), sum=0.5 * rounds)
    return EngineStats(
        running=1, waiting=0, slots=8, lm_steps=rounds, lm_busy_s=0.1 * rounds,
        vocoder_busy_s=0.1 * rounds, capacity=8, streams_left=7, predicted_ttfa_s=0.01,
        counters={"guard_silence": rounds, "retimed": rounds, "drafts_proposed": 2 * rounds, "drafts_accepted": rounds},
        tallies={"batch_rows": tally, "lm_step_s": tally, "vocoder_step_s": tally},
    )  # fmt: skip


def move(made: Metrics, rounds: int) -> None:
    made.take_engine(0, engine(rounds), 0)
    for protocol in get_args(Protocol):
        made.ttfa_s.labels(protocol).observe(0.05)
        made.audible_ttfa_s.labels(protocol).observe(0.05)
        made.e2e_s.labels(protocol).observe(1)
        made.requests.labels(protocol, "ok").inc()
    made.audio_s.inc()
    for histogram in (made.queue_s, made.inter_chunk_s, made.rtf, made.lead_s, made.send_blocked_s):
        histogram.observe(0.05)
