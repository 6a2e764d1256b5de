"""Part 5: the engine without a server, 1 to 512 streams at once, on the device and with drafts as it would serve."""

from __future__ import annotations

from engines.config import DeviceChoice, EngineConfig
from server import engine_benchmark as benchmark
from tests.dry_cuda.voice import BUNDLE, emulation, form
from tests.gpu_check.report import Table
from tests.gpu_check.setting import PRETENDED, Setting

STREAMS = (1, 2) if PRETENDED else (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def run_engine(setting: Setting, table: Table) -> None:
    setting.timed_device()
    if PRETENDED:
        emulation()
    for streams in STREAMS:
        if not setting.has_time(15):
            table.note(f"out of time before {streams} streams")
            return
        config = EngineConfig(slots=streams, sheds=False, device=DeviceChoice.CUDA, gpu_form=form().folder)
        found = benchmark.run(BUNDLE, streams, config)
        first = found.first_audio_s
        table.row(
            streams=streams,
            kernels=found.kernels,
            times_real_time=found.audio_s / found.wall_s,
            cpu_per_audio_s=found.cpu_per_audio_s,
            python_per_step_us=found.python_per_step_us,
            rows_per_call=found.lm_rows / found.lm_calls,
            lm_s_per_audio_s=found.lm_s / found.audio_s,
            vocoder_s_per_audio_s=found.vocoder_s / found.audio_s,
            first_audio_ms=1e3 * first[len(first) // 2],
            last_first_audio_ms=1e3 * first[-1],
        )
