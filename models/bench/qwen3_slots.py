"""What slots of an exported Qwen3-TTS bundle cost: python -m models.bench.qwen3_slots BUNDLE

Bytes of a slot, prefill with and without a kept prefix, swaps to host memory, what admission says, CPU time by part,
and a paused stream whose slot another request gets. Weights may be random, time is not.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from engines.assemble import load_engine, open_bundle, slots_by_memory
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.base import Sampling
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.talker import Qwen3TtsTalker
from engines.messages import Append, Cancel, Chunk, EndText, Failed, SetPaused, Submit

_PROMPTS = (9, 34, 134)  # positions: an opening; with a recording of 2 s, and of 10 s
_HELD = (64, 256, 1000)  # positions of a slot that is swapped
_FRAMES = 12  # of a stream that is measured
_TEXT = "The quick brown fox speaks in a clear voice, and good morning everyone. " * 4


def seconds(call: Callable[[], object], calls: int) -> float:
    """Median, without the first call."""
    found = []
    for _ in range(calls + 1):
        began_s = time.perf_counter()
        call()
        found.append(time.perf_counter() - began_s)
    return median(found[1:])


def slot_memory(engine: Engine) -> None:
    talker, spec = cast(Qwen3TtsTalker, engine.model.talker), engine.spec
    slabs = talker._slabs.slabs.values()
    cache = sum(math.prod(one.shape[1:]) * np.dtype(one.dtype).itemsize for one in slabs)
    a_position = cache // next(iter(slabs)).shape[2]
    beside = spec.bytes_per_slot - cache
    print(
        f"a slot: {a_position} bytes a position, {cache / 1e6:.1f} MB of keys and values, {beside / 1e6:.1f} MB vocoder"
    )
    print(f"slots of the memory that is free now: {slots_by_memory(1 << 20, spec.bytes_per_slot)}")


def prefixes(talker: Qwen3TtsTalker, width: int, calls: int) -> None:
    for count in _PROMPTS:
        rows = np.zeros((count, width), np.int64)
        computed_s, kept_s = (
            seconds(partial(_begin, talker, VoicePrefix(key=key, rows=rows)), calls) for key in (None, f"{count} rows")
        )
        print(f"prefix of {count} positions: computed {1000 * computed_s:.0f} ms, kept {1000 * kept_s:.2f} ms")


def _begin(talker: Qwen3TtsTalker, prefix: VoicePrefix) -> None:
    talker.begin(0, prefix)
    talker.release(0)


def swaps(engine: Engine, calls: int) -> None:
    talker, width = cast(Qwen3TtsTalker, engine.model.talker), engine.spec.row_width
    for held in _HELD:
        zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
        talker.begin(0, VoicePrefix(key=None, rows=np.zeros((0, width), np.int64)))
        key = np.zeros((1, 2), np.int64)
        talker.step(zero, np.zeros((1, 1, width), np.int64), one, zero + held - 1, [Sampling()], key, None).wait()
        took = []
        for _ in range(calls + 1):
            began_s = time.perf_counter()
            kept: Any = talker.swap_out(0)
            out_s = time.perf_counter() - began_s
            talker.swap_in(0, kept)
            took.append((out_s, time.perf_counter() - began_s - out_s))
        taken = sum(array.nbytes for arrays in kept for array in arrays)
        out_s, in_s = np.median(np.array(took[1:]), axis=0)
        print(f"swap of {held} positions: {taken / 1e6:.1f} MB, out {1000 * out_s:.1f} ms, in {1000 * in_s:.1f} ms")
        talker.release(0)


class Driven:
    """An engine with the samples that it sent, by request."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.pcm = engine, defaultdict[str, bytes](bytes)

    def submit(self, name: str) -> None:
        self.pcm[name] = b""
        self.engine.submit(Submit(request_id=name, voice=self.engine.spec.voices[0].id, seed=1))
        self.engine.submit(Append(request_id=name, text=_TEXT))
        self.engine.submit(EndText(request_id=name))

    def step(self) -> list[Failed]:
        events = self.engine.step()
        for event in events:
            if isinstance(event, Chunk):
                self.pcm[event.request_id] += event.pcm
        return [event for event in events if isinstance(event, Failed)]

    def until(self, name: str, count: int) -> float:
        """Seconds until so many bytes of the request have come."""
        began_s = time.perf_counter()
        while len(self.pcm[name]) < count:
            for failed in self.step():
                raise RuntimeError(f"{failed.request_id}: {failed.message}")
            if not self.engine.has_work:
                self.engine.wait(1.0)
        return time.perf_counter() - began_s

    def first_audio_s(self, name: str) -> float:
        self.submit(name)
        return self.until(name, 1)

    def pause(self, name: str) -> None:
        """Until nothing is left to do."""
        self.engine.submit(SetPaused(request_id=name, paused=True))
        self._rest()

    def resume_s(self, name: str) -> float:
        """Seconds until the next sound."""
        self.engine.submit(SetPaused(request_id=name, paused=False))
        return self.until(name, len(self.pcm[name]) + 1)

    def cancel(self, name: str) -> None:
        self.engine.submit(Cancel(request_id=name))
        while name in self.engine.sequences:
            self.step()
            if not self.engine.has_work:
                self.engine.wait(1.0)

    def _rest(self) -> None:
        while self.engine.has_work or any(one.in_vocoder for one in self.engine.sequences.values()):
            self.step()
            if not self.engine.has_work:
                self.engine.wait(0.01)


def admission(engine: Engine) -> None:
    driven, stats = Driven(engine), engine.stats()
    print(f"measured: one stream takes {stats.lone_rtf:.2f} s for a second of audio; capacity {stats.capacity}")
    first_s = driven.first_audio_s("first")
    print(f"a first stream: predicted TTFA {1000 * stats.predicted_ttfa_s:.0f} ms, first audio {1000 * first_s:.0f} ms")
    driven.submit("second")
    for failed in driven.step():
        print(f"a second stream is rejected: {failed.message}")
    for name in ("first", "second"):
        driven.cancel(name)


def parts(engine: Engine) -> bytes:
    """-> the stream's first samples"""
    driven, before, cpu_s = Driven(engine), engine.counters.copy(), time.process_time()
    driven.submit("one")
    took_s = driven.until("one", round(2 * _FRAMES * engine.spec.frame_s * engine.spec.native_rate_hz))
    cpu_s, after = time.process_time() - cpu_s, engine.counters
    made = after.frames - before.frames
    busy = [getattr(after, name) - getattr(before, name) for name in ("lm_busy_s", "vocoder_busy_s")]
    each = [f"{1000 * one / made:.0f}" for one in (*busy, cpu_s, took_s)]
    print(
        f"{made} frames of one stream, ms a frame: talker and predictor {each[0]}, vocoder beside it {each[1]}, "
        f"CPU time of all {each[2]}, from frame to frame {each[3]}"
    )
    driven.cancel("one")
    return driven.pcm["one"]


def preemption(engine: Engine, whole: bytes) -> None:
    """With one slot. `whole`: what the stream says when it is left alone."""
    driven = Driven(engine)
    free_s = driven.first_audio_s("other")
    driven.cancel("other")
    driven.submit("one")
    driven.until("one", len(whole) // 3)
    driven.pause("one")
    kept_s = driven.resume_s("one")
    driven.pause("one")
    taken_s = driven.first_audio_s("other")
    driven.cancel("other")
    back_s = driven.resume_s("one")
    driven.until("one", len(whole))
    driven.cancel("one")
    equal = "equal" if driven.pcm["one"].startswith(whole) else "DIFFER"
    print(f"first audio, ms: {1000 * free_s:.0f} in a free slot, {1000 * taken_s:.0f} in a paused stream's")
    print(f"a paused stream's next sound, ms: {1000 * kept_s:.0f} from its slot, {1000 * back_s:.0f} after a swap")
    print(f"{engine.counters.swapped} swapped; samples {equal} to those of a stream that was left alone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of the talker [1, as served]")
    parser.add_argument("--calls", type=int, default=5)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    model = bundle.provenance["model"]
    print(f"slot benchmark of {model}: {given.threads} talker threads, medians of {given.calls} calls")
    engine = load_engine(bundle, EngineConfig(slots=given.slots, lm_threads=given.threads))
    engine.model.talker.warm_up()
    engine.model.vocoder.warm_up()
    slot_memory(engine)
    prefixes(cast(Qwen3TtsTalker, engine.model.talker), engine.spec.row_width, given.calls)
    swaps(engine, given.calls)
    engine.measure()
    admission(engine)
    whole = parts(engine)
    lone = Engine(engine.model, replace(engine.config, slots=1, sheds=False), profile=engine.profile)
    preemption(lone, whole)
    lone.close()
    engine.close()


if __name__ == "__main__":
    main()
