"""The shipped bundle without a server, one request at a time or all at once: python -m models.bench.batching

A worker: each line of stdin is a job {"way": "naive" or "batched", "requests", "first"}, where `first` is the text to
begin with; each answer is a line of JSON with the CPU time of the process, the wall time and every request's wait for
its first audio. All requests arrive in the same moment.
`naive` speaks them one after another through `engines.synth`, `batched` gives them to one engine. The digest of the
audio lets the caller see that both ways gave the same bytes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import time
from dataclasses import dataclass, field

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import load_bundle
from engines.messages import Append, Chunk, EndText, Failed, Finished, Submit
from engines.synth import stream

TEXTS = (
    "Good morning, this is the front desk. How may I help you today?",
    "Your order left the warehouse on Tuesday and should arrive before the end of the week.",
    "Please hold the line while I look that up. It will only take a moment.",
    "The weather tomorrow will be mild, with some clouds in the morning and a light breeze from the west.",
)


@dataclass
class Outcome:
    """Of all requests of one round."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    ttfa_s: dict[str, float] = field(default_factory=dict)
    pcm: dict[str, bytes] = field(default_factory=dict)


def requests(first: int, count: int, voice: str) -> list[tuple[Submit, str]]:
    return [
        (Submit(request_id=f"request-{index}", voice=voice, seed=index), TEXTS[index % len(TEXTS)])
        for index in range(first, first + count)
    ]


def naive(engine: Engine, asked: list[tuple[Submit, str]]) -> Outcome:
    outcome, cpu_s, started_s = Outcome(), time.process_time(), time.perf_counter()
    for submit, text in asked:
        for event in stream(engine, submit, text):
            if isinstance(event, Chunk):
                _take(outcome, event, started_s)
    outcome.cpu_s, outcome.wall_s = time.process_time() - cpu_s, time.perf_counter() - started_s
    return outcome


def batched(engine: Engine, asked: list[tuple[Submit, str]]) -> Outcome:
    outcome, cpu_s, started_s = Outcome(), time.process_time(), time.perf_counter()
    for submit, text in asked:
        engine.submit(submit)
        engine.submit(Append(request_id=submit.request_id, text=text))
        engine.submit(EndText(request_id=submit.request_id))
    left = len(asked)
    while left:
        for event in engine.step():
            if isinstance(event, Chunk):
                _take(outcome, event, started_s)
            elif isinstance(event, Finished):
                left -= 1
            elif isinstance(event, Failed):
                raise RuntimeError(f"{event.request_id}: {event.message}")
        if left and not engine.has_work:
            engine.wait(1.0)
    outcome.cpu_s, outcome.wall_s = time.process_time() - cpu_s, time.perf_counter() - started_s
    return outcome


def _take(outcome: Outcome, chunk: Chunk, started_s: float) -> None:
    outcome.ttfa_s.setdefault(chunk.request_id, time.perf_counter() - started_s)
    outcome.pcm[chunk.request_id] = outcome.pcm.get(chunk.request_id, b"") + chunk.pcm


def main() -> None:
    bundle = load_bundle()

    @functools.lru_cache(maxsize=4)
    def engine(slots: int) -> Engine:
        return load_engine(bundle, EngineConfig(slots=slots))

    for line in sys.stdin:
        job = json.loads(line)
        asked = requests(job.get("first", 0), job["requests"], bundle.voices[0].id)
        one_by_one = job["way"] == "naive"
        outcome = naive(engine(1), asked) if one_by_one else batched(engine(job["requests"]), asked)
        pcm = [outcome.pcm[submit.request_id] for submit, _ in asked]
        answer = {
            "audio_s": sum(map(len, pcm)) / 2 / bundle.sample_rate_hz,
            "cpu_s": outcome.cpu_s,
            "wall_s": outcome.wall_s,
            "ttfa_s": [outcome.ttfa_s[submit.request_id] for submit, _ in asked],
            "words": sum(len(text.split()) for _, text in asked),
            "digest": hashlib.sha256(b"".join(pcm)).hexdigest(),
            "bundle": f"{bundle.name} {bundle.version}",
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
