"""Starts an engine's process: before the server has imported anything large, so that both get ready at once.

The child unpickles nothing but `_run`, and imports the engine itself.
"""

from __future__ import annotations

import gc
import multiprocessing
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from engines.config import DeviceChoice, EngineConfig
from server.settings import EngineMode, Settings, num_engines


@dataclass(slots=True)
class Launched:
    process: BaseProcess
    pipe: socket.socket  # our end
    taken: bool = False  # by a link, which ends it

    def discard(self) -> None:
        """The server does not start."""
        if self.taken:
            return
        self.pipe.close()
        self.process.kill()
        self.process.join()


def launch(settings: Settings, *, checks_files: bool = False) -> Launched:
    """`checks_files`: against the bundle's hashes, which the server itself does at its start."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("spawn").Process(
        target=_run,
        args=(theirs, settings.bundle, engine_config(settings), settings.engine_nice, checks_files),
        name="parlando-engine",
        daemon=True,
    )
    process.start()
    theirs.close()
    return Launched(process, ours)


def launch_all(settings: Settings) -> list[Launched]:
    if settings.engine_mode is EngineMode.THREAD:
        return []
    return [launch(settings) for _ in range(num_engines(settings))]


def engine_config(settings: Settings) -> EngineConfig:
    return EngineConfig(
        slots=settings.slots,
        prefill_positions=settings.prefill_positions,
        max_ttfa_s=settings.max_ttfa_s,
        sheds=settings.shed,
        lm_threads=settings.lm_threads,
        vocoder_threads=settings.vocoder_threads,
        device=DeviceChoice(settings.device),
        gpu_form=settings.gpu_form,
        deterministic=settings.deterministic,
        voices=settings.voices,
        own_kernels=settings.own_kernels,
        draft_tolerance=settings.draft_tolerance,
        max_expanded=settings.max_characters,
    )


def _run(end: socket.socket, bundle: Path | None, config: EngineConfig, nice: int, checks_files: bool) -> None:
    gc.disable()  # until it is loaded
    from server.engine.worker import run_process

    run: Callable[[socket.socket, Path | None, EngineConfig, int, bool], None] = run_process
    run(end, bundle, config, nice, checks_files)
