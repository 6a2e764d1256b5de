"""One bundle's speed beside another's on this machine: python -m models.bench.beside BUNDLE [--against OTHER]

In rounds that alternate, so that what else the machine does falls on both: the time to the first chunk of a lone
request, and the processor time for a second of audio when all streams speak at once, unpaced. On the same cores, the
number of streams goes with the inverse of that.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.bundle import Bundle, load_bundle
from engines.messages import Chunk, Submit
from engines.synth import stream
from models.bench.drafts import speak

STREAMS, ROUNDS, LONE = 16, 7, 10
LONE_TEXT = "Good morning! Your train leaves at nine fifteen."


def first_chunk_s(engine: Engine) -> float:
    """From the request to its first samples, on an engine without other work; the rest is spoken too."""
    submit = Submit(request_id="lone", voice=engine.spec.voices[0].id, seed=1)
    started_s, found_s = time.perf_counter(), None
    for event in stream(engine, submit, LONE_TEXT):
        if found_s is None and isinstance(event, Chunk) and event.pcm:
            found_s = time.perf_counter() - started_s
    assert found_s is not None, "a text of words is spoken"
    return found_s


def cpu_per_audio_s(engine: Engine, streams: int) -> float:
    """Processor time of all threads of this process; the other engine idles."""
    before_s = time.process_time()
    _, audio_s = speak(engine, streams)
    return (time.process_time() - before_s) / audio_s


def measure(ours: Bundle, other: Bundle, streams: int = STREAMS, rounds: int = ROUNDS) -> dict[str, float]:
    engines = [load_engine(one, EngineConfig(slots=streams, sheds=False)) for one in (ours, other)]
    for engine in engines:
        speak(engine, streams)  # memory, bindings, and what the switch for drafts learns
        first_chunk_s(engine)
    cpu: list[list[float]] = [[], []]
    first: list[list[float]] = [[], []]
    for number in range(rounds):
        for place in (0, 1) if number % 2 else (1, 0):
            cpu[place].append(cpu_per_audio_s(engines[place], streams))
            first[place].append(median(first_chunk_s(engines[place]) for _ in range(LONE)))
    for engine in engines:
        engine.close()
    return {
        "cpu_ms_per_audio_s": 1000 * median(cpu[0]),
        "other_cpu_ms_per_audio_s": 1000 * median(cpu[1]),
        "streams_ratio": median(theirs / ours for ours, theirs in zip(*cpu, strict=True)),
        "ttfa_ms": 1000 * median(first[0]),
        "other_ttfa_ms": 1000 * median(first[1]),
        "ttfa_ratio": median(ours / theirs for ours, theirs in zip(*first, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--against", type=Path, default=Path("flite"))
    parser.add_argument("--streams", type=int, default=STREAMS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    bundles = load_bundle(arguments.bundle), load_bundle(arguments.against)
    print(json.dumps(measure(*bundles, arguments.streams, arguments.rounds), indent=1))


if __name__ == "__main__":
    main()
