"""What the host spends on a step of all rows, measured on the pretended device, whose kernels take no time.

    python -m tests.dry_cuda.host_time OUT.json [--rows 256] [--profile]
    python -m tests.dry_cuda.host_time OUT.json --rows 16 --replay-ms 0 0.5 1 2 4

in the environment of `make test-gpu-dry`. The engine's clock is the CPU time of its own thread, so that neither other
processes nor waiting count: inputs, replay, the commit of each row, the plan, chunks. The thread that makes the
vocoder's calls comes on top. With `--replay-ms` each step keeps the device busy for so long and its wait sleeps; wall
time between steps is told then, with the next step launched ahead and without.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from engines.assemble import load_engine
from engines.config import DraftMode, EngineConfig
from engines.engine import Engine
from engines.families.phone_pointer.device_talker import DeviceTalker
from engines.families.phone_pointer.device_vocoder import DeviceVocoder
from engines.messages import Append, EndText, Submit
from engines.runtime.device import load_libraries
from engines.runtime.onnx_cuda import CudaCall, OnnxCuda
from tests.dry_cuda.voice import BUNDLE, form

TEXT = "The ship was due at nine, but the fog had come down over the harbour and nothing moved. " * 8
FRAMES, SKIPPED = 60, 30  # of each stream: timed, behind those of its start
TOP = 25
WINDOW, WINDOWS = 20, 7  # steps of all rows that a period is measured over, and how often, by turns


class OwnTime:
    """Where there is nothing to do it jumps."""

    def __init__(self) -> None:
        self.idle_s = 0.0

    def __call__(self) -> float:
        return time.thread_time() + self.idle_s


class Busy:
    """Each decode keeps the device busy for `replay_s` behind those before it, and a wait sleeps until it is done."""

    def __init__(self) -> None:
        self.replay_s = 0.0
        self._free_s, self._ready_s = dict[int, float](), dict[int, float]()
        self._launch, self._wait = CudaCall.launch, CudaCall.wait
        CudaCall.launch = lambda call: self.launch(call)  # type: ignore[method-assign]
        CudaCall.wait = lambda call: self.wait(call)  # type: ignore[method-assign]

    def launch(self, call: CudaCall) -> None:
        self._launch(call)
        if call.graph.name.startswith("decode"):
            queue = id(call._queue)
            self._free_s[queue] = max(time.monotonic(), self._free_s.get(queue, 0.0)) + self.replay_s
            self._ready_s[id(call)] = self._free_s[queue]

    def wait(self, call: CudaCall) -> None:
        time.sleep(max(0.0, self._ready_s.pop(id(call), 0.0) - time.monotonic()))
        self._wait(call)


def engine_of(rows: int, clock: OwnTime, *, ahead: bool = True) -> Engine:
    """Without a self-test: here nothing is computed."""
    talker, vocoder = (make(BUNDLE, form(), OnnxCuda(), rows) for make in (DeviceTalker, DeviceVocoder))
    talker.launches_ahead &= ahead
    talker.warm_up()
    vocoder.warm_up()
    noise = np.random.default_rng(0)
    for made in (*vocoder._buffers.samples.values(), *vocoder._buffers.spectra.values()):
        made.write(noise.standard_normal(made.shape, np.float32))  # nothing else writes there, and no chunk is quiet
    config = EngineConfig(
        slots=rows,
        max_batch=rows,
        verify_rows=rows,
        job_frames=8 * rows,
        drafts=DraftMode.OFF,
        sheds=False,
        workers=False,
    )
    engine = load_engine(BUNDLE, config, clock, talker=talker, vocoder=vocoder)
    engine.measure()
    for seed in range(rows):
        name, voice = f"row-{seed}", BUNDLE.voices[seed % len(BUNDLE.voices)].id
        engine.submit(Submit(request_id=name, voice=voice, seed=seed))
        engine.submit(Append(request_id=name, text=TEXT))
        engine.submit(EndText(request_id=name))
    return engine


def spent(engine: Engine, clock: OwnTime, frames: int) -> dict[str, float]:
    """CPU of the loop's thread and of the others until so many frames of all streams are made."""
    counters = engine.counters
    began = time.thread_time(), time.process_time(), counters.lm_steps, counters.frames, counters.vocoder_rows
    while counters.frames - began[3] < frames:
        engine.step()
        if not engine.has_work:
            clock.idle_s += 1e-3
    loop_s, all_s = time.thread_time() - began[0], time.process_time() - began[1]
    calls, frames = counters.lm_steps - began[2], counters.frames - began[3]
    return {
        "rows_a_call": round(frames / max(1, calls), 1),
        "loop_us_a_row": round(1e6 * loop_s / max(1, frames), 2),
        "vocoder_thread_us_a_row": round(1e6 * (all_s - loop_s) / max(1, frames), 2),
        "chunk_frames": round(frames / max(1, counters.vocoder_rows - began[4]), 1),
    }


def periods(busy: Busy, rows: int, replays_ms: Sequence[float]) -> list[dict[str, Any]]:
    """Milliseconds of wall time a step of all rows, by turns of both ways, the median of WINDOWS."""
    clock, found = OwnTime(), dict[tuple[float, bool], list[float]]()
    busy.replay_s = 0.0
    engines = {ahead: engine_of(rows, clock, ahead=ahead) for ahead in (False, True)}
    for engine in engines.values():
        spent(engine, clock, SKIPPED * rows)
    for _ in range(WINDOWS):
        for replay_ms in replays_ms:
            busy.replay_s = replay_ms / 1e3
            for ahead, engine in engines.items():
                began_s, frames = time.monotonic(), engine.counters.frames
                spent(engine, clock, WINDOW * rows)
                steps = (engine.counters.frames - frames) / rows
                found.setdefault((replay_ms, ahead), []).append(1e3 * (time.monotonic() - began_s) / steps)
    for engine in engines.values():
        engine.close()
    table = list[dict[str, Any]]()
    for replay_ms in replays_ms:
        read_at_once, ahead_ms = (median(found[replay_ms, ahead]) for ahead in (False, True))
        row = {"streams": rows, "replay_ms": replay_ms, "read_at_once_ms": round(read_at_once, 2)}
        table.append(row | {"launched_ahead_ms": round(ahead_ms, 2)})
        print(table[-1], flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--profile", action="store_true", help="where the time of the most rows goes, too")
    parser.add_argument("--replay-ms", type=float, nargs="+", help="periods of steps that take so long on the device")
    given = parser.parse_args()
    load_libraries()
    table = list[dict[str, Any]]()
    if given.replay_ms:
        busy = Busy()
        table = [row for rows in given.rows for row in periods(busy, rows, given.replay_ms)]
    for rows in () if given.replay_ms else given.rows:
        clock = OwnTime()
        engine = engine_of(rows, clock)
        spent(engine, clock, SKIPPED * rows)
        row: dict[str, Any] = {"streams": rows} | spent(engine, clock, FRAMES * rows)
        row["loop_ms_of_256_rows"] = round(256 * row["loop_us_a_row"] / 1e3, 2)
        table.append(row)
        print(row, flush=True)
        if given.profile and rows == given.rows[-1]:
            profiled = cProfile.Profile()
            profiled.runcall(spent, engine, clock, FRAMES * rows)
            pstats.Stats(profiled).sort_stats("tottime").print_stats(TOP)
            pstats.Stats(profiled).sort_stats("cumtime").print_stats(2 * TOP)
        engine.close()
    given.out.write_text(json.dumps({"rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
