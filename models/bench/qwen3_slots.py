"""What slots of an exported Qwen3-TTS bundle cost: python -m models.bench.qwen3_slots BUNDLE

Bytes of a slot, prefill with and without a kept prefix, swaps to host memory, what admission says, CPU time by part,
and a paused stream whose slot another request gets. Weights may be random, time is not.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from engines.assemble import load_engine, open_bundle
from engines.config import EngineConfig
from engines.engine import Engine
from engines.families.base import Sampling
from engines.families.qwen3_tts.prompt import VoicePrefix
from engines.families.qwen3_tts.talker import Qwen3TtsTalker
from engines.messages import Append, Cancel, Chunk, EndText, Failed, SetPaused, Submit
from engines.runtime.memory import slots_by_memory

_PROMPTS = (9, 34, 134)  # positions: an opening; with a recording of 2 s, and of 10 s
_HELD = (64, 256, 1000)  # positions of a slot that is swapped
_FRAMES = 12  # of a stream that is measured
_TEXT = "The quick brown fox speaks in a clear voice, and good morning everyone. " * 4


@dataclass(frozen=True, slots=True)
class Took:
    """What other processes do adds to the first, hardly to the second; a call on two threads costs more of it."""

    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        return f"{1000 * self.wall_s:.2f} ms ({1000 * self.cpu_s:.2f} of CPU)"


class Watch:
    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def took(self) -> Took:
        return Took(time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s)


def middle(found: Sequence[Took]) -> Took:
    return Took(median(one.wall_s for one in found), median(one.cpu_s for one in found))


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
        computed, kept = (
            middle([_begin(talker, VoicePrefix(key=key, rows=rows)) for _ in range(calls + 1)][1:])
            for key in (None, f"{count} rows")
        )
        print(f"prefix of {count} positions: computed {computed}, kept {kept}")


def _begin(talker: Qwen3TtsTalker, prefix: VoicePrefix) -> Took:
    watch = Watch()
    talker.begin(0, prefix)
    took = watch.took()
    talker.release(0)
    return took


def swaps(engine: Engine, calls: int) -> None:
    talker, width = cast(Qwen3TtsTalker, engine.model.talker), engine.spec.row_width
    zero, one, key = np.zeros(1, np.int64), np.ones(1, np.int64), np.zeros((1, 2), np.int64)
    for held in _HELD:
        talker.begin(0, VoicePrefix(key=None, rows=np.zeros((0, width), np.int64)))
        talker.step(zero, np.zeros((1, 1, width), np.int64), one, zero + held - 1, [Sampling()], key, None).wait()
        out, back = list[Took](), list[Took]()
        for _ in range(calls + 1):
            watch = Watch()
            kept: Any = talker.swap_out(0)
            out.append(watch.took())
            watch = Watch()
            talker.swap_in(0, kept)
            back.append(watch.took())
        taken = sum(array.nbytes for arrays in kept for array in arrays)
        print(f"swap of {held} positions, {taken / 1e6:.1f} MB: out {middle(out[1:])}, in {middle(back[1:])}")
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

    def until(self, name: str, count: int) -> Took:
        """Until so many bytes of the request have come."""
        watch = Watch()
        while len(self.pcm[name]) < count:
            for failed in self.step():
                raise RuntimeError(f"{failed.request_id}: {failed.message}")
            if not self.engine.has_work:
                self.engine.wait(1.0)
        return watch.took()

    def first_audio(self, name: str) -> Took:
        self.submit(name)
        return self.until(name, 1)

    def pause(self, name: str) -> None:
        """Until nothing is left to do."""
        self.engine.submit(SetPaused(request_id=name, paused=True))
        self._rest()

    def resume(self, name: str) -> Took:
        """Until the next sound."""
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
    first = driven.first_audio("first")
    print(f"a first stream: predicted TTFA {1000 * stats.predicted_ttfa_s:.0f} ms, first audio {first}")
    driven.submit("second")
    for failed in driven.step():
        print(f"a second stream is rejected: {failed.message}")
    for name in ("first", "second"):
        driven.cancel(name)


def parts(engine: Engine) -> bytes:
    """-> the stream's first samples"""
    driven, before = Driven(engine), engine.counters.copy()
    driven.submit("one")
    took, after = (
        driven.until("one", round(2 * _FRAMES * engine.spec.frame_s * engine.spec.native_rate_hz)),
        engine.counters,
    )
    made = after.frames - before.frames
    busy = [getattr(after, name) - getattr(before, name) for name in ("lm_busy_s", "vocoder_busy_s")]
    each = [f"{1000 * one / made:.0f}" for one in (*busy, took.wall_s, took.cpu_s)]
    print(
        f"{made} frames of one stream, ms a frame: talker and predictor {each[0]}, vocoder beside it {each[1]}, "
        f"from frame to frame {each[2]}, CPU of all {each[3]}"
    )
    driven.cancel("one")
    return driven.pcm["one"]


def preemption(engine: Engine, whole: bytes) -> None:
    """With one slot. `whole`: what the stream says when it is left alone."""
    driven = Driven(engine)
    free = driven.first_audio("other")
    driven.cancel("other")
    driven.submit("one")
    driven.until("one", len(whole) // 3)
    driven.pause("one")
    kept = driven.resume("one")
    driven.pause("one")
    taken = driven.first_audio("other")
    driven.cancel("other")
    back = driven.resume("one")
    driven.until("one", len(whole))
    driven.cancel("one")
    equal = "equal" if driven.pcm["one"].startswith(whole) else "DIFFER"
    print(f"first audio of a request: {free} in a free slot, {taken} in a paused stream's")
    print(f"a paused stream's next sound: {kept} from its slot, {back} after a swap")
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
