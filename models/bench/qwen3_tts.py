"""Shape benchmark of an exported Qwen3-TTS bundle: what a frame costs by part. Weights may be random, time is not.

The step graph holds talker, code predictor and sampling; the prefill graph over one position is the talker alone, so
the difference is the predictor. Medians of calls that take turns.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.section import Qwen3TtsSection
from engines.runtime.ort import cpu_session, ort, session_options


def session(path: Path, threads: int) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return cpu_session(str(path), options)


class Bound:
    """A graph over fixed arrays, the cache updated in place."""

    def __init__(self, graph: ort.InferenceSession, feeds: dict[str, Any], cache: dict[str, Any]) -> None:
        self._graph, self._binding = graph, graph.io_binding()
        self._kept = [ort.OrtValue.ortvalue_from_numpy(one) for one in (*feeds.values(), *cache.values())]
        for name, value in zip((*feeds, *cache), self._kept, strict=True):
            self._binding.bind_ortvalue_input(name, value)
            if name in cache:
                self._binding.bind_ortvalue_output(name.replace("past", "present"), value)
        for one in graph.get_outputs():
            if not one.name.startswith("present"):
                self._binding.bind_output(one.name)

    def run(self) -> float:
        began = time.perf_counter()
        self._graph.run_with_iobinding(self._binding)
        return time.perf_counter() - began


def step_feeds(section: Qwen3TtsSection, rows: int, context: int) -> dict[str, Any]:
    part = section.talker
    draws = {
        "temperature": np.full((rows, 1), 0.9, np.float32),
        "top_k": np.full((rows, 1), 50),
        "top_p": np.ones((rows, 1), np.float32),
    }
    return {
        "text": np.ones((rows, 1), np.int64),
        "codes": np.ones((rows, 1, part.codebooks), np.int64),
        "seqlens_k": np.full(rows, context, np.int32),
        "total_len": np.array([context + 1], np.int32),
        "generated": np.zeros((rows, part.vocabulary), np.bool_),
        "penalty": np.full((rows, 1), 1.05, np.float32),
        "may_end": np.ones((rows, 1), np.bool_),
        "numbers": np.full((rows, part.codebooks), 0.4, np.float32),
        **draws,
        **{f"inner_{name}": value for name, value in draws.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--context", type=int, default=200)
    parser.add_argument("--calls", type=int, default=5)
    given = parser.parse_args()
    bundle = Bundle.load(given.bundle)
    section, part = bundle.qwen3_tts, bundle.qwen3_tts.talker
    model = bundle.provenance["model"]
    print(f"shape benchmark of {model}: {given.threads} threads, ms, medians of {given.calls} calls")
    began = time.perf_counter()
    step = session(bundle.folder / part.step, given.threads)
    prefill = session(bundle.folder / part.prefill, given.threads)
    vocoder = session(bundle.folder / section.vocoder.file, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"load {time.perf_counter() - began:.1f} s, peak memory {peak:.1f} GB")
    positions = part.positions + part.spare_positions
    frame_ms = 1000 * section.frame_s
    for rows in given.rows:
        shape = (rows, part.kv_heads, positions, part.head_dim)
        cache = {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in range(part.layers) for kind in "kv"}
        whole = Bound(step, step_feeds(section, rows, given.context), cache)
        one = {
            name: value
            for name, value in step_feeds(section, rows, given.context).items()
            if name in ("text", "codes", "seqlens_k", "total_len")
        }
        alone = Bound(prefill, {**one, "speaker": np.zeros((rows, 1, part.width), np.float32)}, cache)
        times = np.array([(whole.run(), alone.run()) for _ in range(given.calls + 1)])[1:] * 1000
        both, talker = np.median(times, axis=0)
        print(
            f"{rows} rows: frame {both:.0f} (talker {talker:.0f}, predictor {both - talker:.0f}), "
            f"{both / rows:.0f} a row, {both / frame_ms:.2f} of real time"
        )
    cache = {name: value[:1] for name, value in cache.items()}
    for count in (8, 32):
        feeds = {
            "text": np.ones((1, count), np.int64),
            "codes": np.ones((1, count, part.codebooks), np.int64),
            "speaker": np.zeros((1, count, part.width), np.float32),
            "seqlens_k": np.array([count - 1], np.int32),
            "total_len": np.array([count], np.int32),
        }
        block = Bound(prefill, feeds, cache)
        blocks_s = [block.run() for _ in range(given.calls + 1)][1:]
        print(f"prefill of {count} positions: {1000 * np.median(blocks_s):.0f}")
    states = {one.name: np.zeros((1, *one.shape), np.float32) for one in section.vocoder.states}
    feeds = {"codes": np.ones((1, part.codebooks), np.int64), "made": np.array([80]), **states}
    frames_s: list[float] = []
    for _ in range(given.calls + 1):
        began = time.perf_counter()
        vocoder.run(None, feeds)
        frames_s.append(time.perf_counter() - began)
    print(f"vocoder, a frame of one row, 1 thread: {1000 * np.median(frames_s[1:]):.0f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
