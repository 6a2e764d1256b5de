"""Times decode steps of an exported LM, the way the engine runs it: python -m models.bench.lm_step SHAPE.json LM.onnx

Without a file it is the shipped LM. A worker: it reads one job a line from stdin, {"batch", "context", "threads",
"seconds"}, and answers each with a line of JSON. So a benchmark can alternate between ours and another. No torch.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.families.phone_pointer.networks import SpeechModel
from models.cpu_networks import speech_model

RUN_STEPS = 32  # a job steps from context - 16 to context + 15, then starts again


def bundle_of(arguments: list[str]) -> Bundle:
    """The shipped bundle, with its LM replaced by the one to be timed."""
    bundle = load_bundle()
    if not arguments:
        return bundle
    shape, file = json.loads(Path(arguments[0]).read_text()), Path(arguments[1]).resolve()
    named = {name: shape[name] for name in ("layers", "kv_heads", "head_dim", "width")}
    lm = msgspec.structs.replace(bundle.lm, file=file.name, **named)
    return msgspec.structs.replace(bundle, folder=file.parent, lm=lm, drafts=None)


def step_times_s(lm: SpeechModel, batch: int, context: int, seconds: float) -> list[float]:
    """Wall time of every step. All rows stand at the same context."""
    rng = np.random.default_rng(0)
    lm.features[:batch, 0] = rng.integers(0, 4096, batch)
    first = max(0, context - RUN_STEPS // 2)
    times: list[float] = []
    spent_s = 0.0
    while True:
        for past in range(first, first + RUN_STEPS):
            started = time.perf_counter()
            lm.past[:batch] = past
            lm.step(0, batch)
            times.append(time.perf_counter() - started)
            spent_s += times[-1]
            if spent_s >= seconds:
                return times


def main() -> None:
    bundle = bundle_of(sys.argv[1:])

    @functools.lru_cache(maxsize=8)
    def runtime(batch: int, threads: int) -> SpeechModel:
        return speech_model(bundle, slots=batch, threads=threads)

    for line in sys.stdin:
        job = json.loads(line)
        lm = runtime(job["batch"], job["threads"])
        step_times_s(lm, job["batch"], job["context"], seconds=0.05)
        times = step_times_s(lm, job["batch"], job["context"], job["seconds"])
        step_ms = 1000 * float(np.median(times))
        print(json.dumps({"step_ms": step_ms, "steps": len(times), "kernels": lm.kernels}), flush=True)


if __name__ == "__main__":
    main()
