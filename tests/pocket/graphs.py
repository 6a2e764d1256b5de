"""Runs the exported graphs on the runtime's kernels, as plainly as possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.runtime.ort import ort, session_options
from models.checkpoints.pocket.config import Config
from models.exporting.pocket.decoder import states
from models.exporting.pocket.speech_lm import initial_cache

POSITIONS = 128
Array = NDArray[Any]


def session(model: onnx.ModelProto, register: Any = None) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if register is not None:
        register(options)
    content, unfused = model.SerializeToString(), ["SkipLayerNormFusion"]
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], disabled_optimizers=unfused)


class SpeechModel:
    """Rows side by side, each with a cache of its own."""

    def __init__(self, config: Config, prefill: onnx.ModelProto, step: onnx.ModelProto, rows: int = 1) -> None:
        self._prefill, self._step = session(prefill), session(step)
        self.cache = initial_cache(config, rows, POSITIONS)
        self.held = np.zeros(rows, np.int32)

    def read(self, ids: Sequence[int]) -> None:
        self._run(self._prefill, len(ids), {"ids": np.array([ids])})

    def make(self, latent: Array, noise: Array) -> tuple[Array, Array]:
        """[B, W] twice -> frames [B, W], end [B]"""
        found = self._run(self._step, 1, {"latent": latent, "noise": noise})
        return found["frames"], found["end"][:, 0]

    def _run(self, graph: ort.InferenceSession, steps: int, feeds: dict[str, Array]) -> dict[str, Array]:
        last = self.held + steps - 1
        feeds |= {"seqlens_k": last, "total_len": np.array([last.max() + 1], np.int32), **self.cache}
        names = [one.name for one in graph.get_outputs()]
        found = dict(zip(names, graph.run(names, feeds), strict=True))
        self.cache = {name: found[name.replace("past", "present")] for name in self.cache}
        self.held = self.held + steps
        return found


class Decoder:
    def __init__(self, model: onnx.ModelProto, steps_per_frame: int, register: Any = None) -> None:
        self._graph, self._states, self._rate = session(model, register), states(model), steps_per_frame

    def run(self, latents: Array, chunks: Sequence[int]) -> Array:
        """latents [B, F, W] in jobs of so many frames -> samples [B, F * hop]"""
        rows, at, pieces = len(latents), 0, []
        state = {name: np.zeros((rows, *shape), np.float32) for name, shape in self._states}
        names = ["pcm", *(f"{name}_out" for name in state)]
        for count in chunks:
            feeds = {"latents": latents[:, at : at + count], "position": np.full(rows, at * self._rate), **state}
            pcm, *left = self._graph.run(names, feeds)
            state = dict(zip(state, left, strict=True))
            pieces.append(pcm)
            at += count
        return np.concatenate(pieces, axis=1)
