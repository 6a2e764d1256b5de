"""The engine alone under load, without a server: what a second of speech costs, and where the time goes.

All streams arrive at once and unpaced, so the figures say what the machine can make, not what listeners
hear; for that, load the server. Used by `parlando bench engine`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from engines.assemble import load_engine
from engines.config import EngineConfig
from engines.engine import Engine
from engines.errors import EngineFault
from engines.families.bundle import Bundle
from engines.messages import Append, Chunk, EndText, Failed, Finished, Submit

TEXT = (
    "The ship was due at nine, but the fog had come down over the harbour and nothing moved. "
    "We waited by the wall and talked about the weather, the price of bread and the new bridge."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineBenchmark:
    """One run. Times are sums over the run, in seconds."""

    streams: int
    audio_s: float
    wall_s: float
    cpu_s: float  # of the whole process
    lm_s: float  # inside the LM's graph
    vocoder_s: float  # the vocoder worker at work, its Python included
    loop_s: float  # the loop's thread: all but waiting
    lm_calls: int
    lm_rows: int
    kernels: str  # "ours", or which are not, and why
    first_audio_s: tuple[float, ...]  # of each stream, from the common start, rising

    @property
    def real_time_factor(self) -> float:
        return self.wall_s / self.audio_s

    @property
    def cpu_per_audio_s(self) -> float:
        return self.cpu_s / self.audio_s

    @property
    def python_per_step_us(self) -> float:
        """What the loop's thread spends outside the LM, per LM call."""
        return (self.loop_s - self.lm_s) / self.lm_calls * 1e6


def run(bundle: Bundle, streams: int, config: EngineConfig | None = None) -> EngineBenchmark:
    """Speaks TEXT `streams` times at once, after a warm-up."""
    # Every request is admitted: how slow it gets is the question.
    engine = load_engine(bundle, config or EngineConfig(slots=max(streams, 1), sheds=False))
    try:
        _speak(engine, min(streams, 2))
        before, cpu_before, started = engine.stats(), time.process_time(), time.perf_counter()
        audio_s, loop_s, first = _speak(engine, streams)
        wall_s, cpu_s, after = time.perf_counter() - started, time.process_time() - cpu_before, engine.stats()
    finally:
        engine.close()
    return EngineBenchmark(
        streams=streams,
        audio_s=audio_s,
        wall_s=wall_s,
        cpu_s=cpu_s,
        lm_s=after.lm_busy_s - before.lm_busy_s,
        vocoder_s=after.vocoder_busy_s - before.vocoder_busy_s,
        loop_s=loop_s,
        lm_calls=after.lm_steps - before.lm_steps,
        lm_rows=after.counters["lm_rows"] - before.counters["lm_rows"],
        kernels=after.kernels,
        first_audio_s=first,
    )


def _speak(engine: Engine, streams: int) -> tuple[float, float, tuple[float, ...]]:
    """Seconds of audio, of the loop's own work, and to each stream's first chunk."""
    started, waited_s, audio_s = time.perf_counter(), 0.0, 0.0
    voices = engine.spec.voices
    for index in range(streams):
        name = f"bench-{index}"
        engine.submit(Submit(request_id=name, voice=voices[index % len(voices)].id, seed=index))
        engine.submit(Append(request_id=name, text=TEXT))
        engine.submit(EndText(request_id=name))
    first: dict[str, float] = {}
    open_streams = streams
    while open_streams:
        for event in engine.step():
            match event:
                case Chunk(request_id=name):
                    first.setdefault(name, time.perf_counter() - started)
                case Finished(timings=timings):
                    audio_s += timings.audio_s
                    open_streams -= 1
                case Failed(message=message):
                    raise EngineFault(message)
        if open_streams and not engine.has_work:
            at = time.perf_counter()
            engine.wait(1.0)
            waited_s += time.perf_counter() - at
    return audio_s, time.perf_counter() - started - waited_s, tuple(sorted(first.values()))
