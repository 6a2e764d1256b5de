"""Speech that a model makes of a few lines, on its float graphs: what int8's scales are fixed from and judged by.

Rows are lines, all stepped together. Text goes in line by line, since lines differ in length.
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


@dataclass(frozen=True, slots=True)
class Speech:
    """What the float graphs were given, call by call, and the frames that they made: [rows, FRAMES, W]."""

    prefills: list[Feeds]
    steps: list[Feeds]
    frames: Frames


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = session_options()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return cpu_session(model.SerializeToString(), options)


def speak(checkpoint: Checkpoint, prefill: onnx.ModelProto, step: onnx.ModelProto, positions: int, seed: int) -> Speech:
    """Every voice in turn speaks the lines."""
    reader, speaker = session(prefill), session(step)
    caches, held, prefills = [], [], []
    for index, line in enumerate(LINES):
        ids = checkpoint.tokenizer.encode(line).ids[:MOST_TOKENS]
        voice = checkpoint.voices[index % len(checkpoint.voices)]
        cache, at = initial_cache(checkpoint.config, 1, positions), voice.positions
        for layer in range(len(voice.keys)):
            cache[f"past_k{layer}"][0, :, :at] = voice.keys[layer][..., halves(voice.keys.shape[-1])]
            cache[f"past_v{layer}"][0, :, :at] = voice.values[layer]
        last = at + len(ids) - 1
        feeds = {"ids": np.array([ids]), "seqlens_k": np.array([last], np.int32), **cache}
        prefills.append(feeds | {"total_len": np.array([last + 1], np.int32)})
        caches.append(_after(reader, prefills[-1])[1])
        held.append(last + 1)
    cache = {name: np.concatenate([one[name] for one in caches]) for name in caches[0]}
    return Speech(prefills, *_steps(checkpoint, speaker, cache, np.array(held, np.int32), seed))


def _steps(
    checkpoint: Checkpoint, speaker: ort.InferenceSession, cache: Feeds, held: NDArray[np.int32], seed: int
) -> tuple[list[Feeds], Frames]:
    rng, rows = np.random.default_rng(seed), len(held)
    scale = np.float32(np.sqrt(checkpoint.config.default_temperature))
    latent = np.repeat(checkpoint.weights["flow_lm.bos_emb"][None], rows, 0)
    calls, made = [], []
    for index in range(FRAMES):
        noise = scale * rng.standard_normal(latent.shape, np.float32)
        feeds = {"latent": latent, "noise": noise, "seqlens_k": held + index, **cache}
        feeds["total_len"] = np.array([held.max() + index + 1], np.int32)
        found, cache = _after(speaker, feeds)
        calls.append(feeds)
        latent = found["frames"]
        made.append(latent)
    return calls, np.stack(made, axis=1)


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
