"""Speech that a model makes of a few lines, on its float graphs: what int8's scales are fixed from and judged by.

Rows are lines, all stepped together. Text goes in line by line, since lines differ in length.

Of all calls one cache is kept, the last. A call sees positions below its own lengths alone and writes its own again, so
the last cache gives what its own one would: 40 caches of six lines were over 4 GB at 100M.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.runtime.ort import cpu_session, ort, session_options
from models.checkpoints.pocket.files import Checkpoint
from models.checkpoints.pocket.tokens import CHECKED
from models.exporting.pocket.decoder import states
from models.exporting.pocket.layers import halves
from models.exporting.pocket.speech_lm import initial_cache
from models.quantise import Feeds

LINES = [line for line in CHECKED if len(line) < 80]
MOST_TOKENS, FRAMES = 50, 40
Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """The frames that the float graphs made, and what they were given, call by call."""

    frames: Frames  # [rows, FRAMES, W]
    noises: Frames  # [rows, FRAMES, W]
    first: Frames  # [rows, W]: what the first step reads
    ids: list[list[int]]  # of each row's text
    held: NDArray[np.int32]  # [rows]: positions before the first step
    cache: Feeds  # behind the last step

    def prefills(self) -> Iterator[Feeds]:
        for row, (ids, held) in enumerate(zip(self.ids, self.held, strict=True)):
            cache = {name: value[row : row + 1].copy() for name, value in self.cache.items()}
            for value in cache.values():
                value[:, :, held:] = 0  # what a prefill gives out is compared whole
            yield {"ids": np.array([ids]), **_lengths(np.array([held], np.int32)), **cache}

    def steps(self) -> Iterator[Feeds]:
        for index in range(FRAMES):
            latent = self.frames[:, index - 1] if index else self.first
            yield {"latent": latent, "noise": self.noises[:, index], **_lengths(self.held + index + 1), **self.cache}


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return cpu_session(model.SerializeToString(), options)


def speak(checkpoint: Checkpoint, prefill: onnx.ModelProto, step: onnx.ModelProto, positions: int, seed: int) -> Speech:
    """Every voice in turn speaks the lines."""
    reader = session(prefill)
    cache = initial_cache(checkpoint.config, len(LINES), positions)
    lines, held = [], []
    for row, line in enumerate(LINES):
        ids = checkpoint.tokenizer.encode(line).ids[:MOST_TOKENS]
        voice = checkpoint.voices[row % len(checkpoint.voices)]
        own, at = initial_cache(checkpoint.config, 1, positions), voice.positions
        for layer in range(len(voice.keys)):
            own[f"past_k{layer}"][0, :, :at] = voice.keys[layer][..., halves(voice.keys.shape[-1])]
            own[f"past_v{layer}"][0, :, :at] = voice.values[layer]
        lines.append(ids)
        held.append(at + len(ids))
        feeds = {"ids": np.array([ids]), **_lengths(np.array(held[-1:], np.int32)), **own}
        for name, value in _after(reader, feeds)[1].items():
            cache[name][row] = value[0]
    del reader
    return _spoken(checkpoint, session(step), cache, lines, np.array(held, np.int32), seed)


def _spoken(
    checkpoint: Checkpoint,
    speaker: ort.InferenceSession,
    cache: Feeds,
    ids: list[list[int]],
    held: NDArray[np.int32],
    seed: int,
) -> Speech:
    rng = np.random.default_rng(seed)
    scale = np.float32(np.sqrt(checkpoint.config.default_temperature))
    first = np.repeat(checkpoint.weights["flow_lm.bos_emb"][None], len(held), 0)
    latent, noises, frames = first, [], []
    for index in range(FRAMES):
        noises.append(scale * rng.standard_normal(latent.shape, np.float32))
        feeds = {"latent": latent, "noise": noises[-1], **_lengths(held + index + 1), **cache}
        found, cache = _after(speaker, feeds)
        latent = found["frames"]
        frames.append(latent)
    every, noise = np.stack(frames, axis=1), np.stack(noises, axis=1)
    return Speech(frames=every, noises=noise, first=first, ids=ids, held=held, cache=cache)


def _lengths(held: NDArray[np.int32]) -> Feeds:
    """`held` [rows]: positions behind the call."""
    return {"seqlens_k": (held - 1).astype(np.int32), "total_len": np.array([held.max()], np.int32)}


def _after(graph: ort.InferenceSession, feeds: Feeds) -> tuple[Feeds, Feeds]:
    """All outputs, and those that are the cache of the next call."""
    names = [one.name for one in graph.get_outputs()]
    found = dict(zip(names, graph.run(names, feeds), strict=True))
    return found, {name.replace("present", "past"): value for name, value in found.items() if "present" in name}


def decoder_feeds(decoder: onnx.ModelProto, frames: Frames) -> Iterator[Feeds]:
    """Each row whole, from silence."""
    for row in frames:
        start = {name: np.zeros((1, *shape), np.float32) for name, shape in states(decoder)}
        yield {"latents": row[None], "position": np.zeros(1, np.int64), **start}
