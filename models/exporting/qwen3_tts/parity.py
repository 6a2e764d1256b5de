"""Exported graphs beside the networks that they came from: figures for the manifest, and an error above the tolerance.

Sessions are opened one at a time and closed: each holds its network once more in float32. So what the talker says is
kept, and the talker itself is gone before its graphs are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.families.base import FloatArray, IntArray
from engines.families.qwen3_tts.section import TalkerPart
from engines.runtime.ort import cpu_session, ort, session_options
from models.checkpoints.qwen3_tts.codec_decoder import CodecDecoder
from models.checkpoints.qwen3_tts.talker import Talker
from models.exporting.errors import ParityError
from models.exporting.qwen3_tts.talker_graphs import frame_table

TOLERANCE = 1e-4  # of the largest value
_PROMPT, _STEPS = 8, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Greedy frames of the network behind a prompt: what its graphs are fed, and what they must say."""

    text: IntArray  # [1, prompt + steps]
    codes: IntArray  # [1, prompt, Q], rows of the frame table
    speaker: FloatArray  # [1, prompt, width]
    rows: IntArray  # [steps, Q]: of the frame table, that enter each step
    logits: FloatArray  # [steps, V]
    frames: IntArray  # [steps, Q]


@torch.no_grad()
def spoken(network: Talker, part: TalkerPart) -> Spoken:
    config, rng = network.config, np.random.default_rng(1)
    text = rng.integers(0, config.text_vocab_size // 2, (1, _PROMPT + _STEPS))
    codes = np.full((1, _PROMPT + 1, config.num_code_groups), part.nothing)
    codes[0, 1:, 0] = rng.integers(0, config.vocab_size, _PROMPT)
    speaker = np.zeros((1, _PROMPT, config.hidden_size), np.float32)
    speaker[0, 2] = rng.standard_normal(config.hidden_size) * 0.3
    table = frame_table(network.state_dict(), config)

    def embedded(ids: IntArray, rows: IntArray) -> torch.Tensor:
        return network.text(torch.from_numpy(ids)) + table[torch.from_numpy(rows)].sum(2)

    _, _, past = network(embedded(text[:, :_PROMPT], codes[:, :_PROMPT]) + torch.from_numpy(speaker))
    row, rows, every, frames = codes[:, _PROMPT:], [], [], []
    allowed = np.arange(config.vocab_size) < config.codes
    for number in range(_PROMPT, _PROMPT + _STEPS):
        hidden, logits, past = network(embedded(text[:, number : number + 1], row), past)
        first = torch.tensor([int(np.where(allowed, logits[0, -1].numpy(), -np.inf).argmax())])
        rest = network.code_predictor.greedy(hidden[:, -1], network.model.codec_embedding(first))
        rows.append(row[0, 0])
        every.append(logits[0, -1].numpy())
        frames.append(torch.cat([first, rest[0]]).numpy())
        row = (frames[-1] + part.starts)[None, None]
    return Spoken(
        text=text,
        codes=codes[:, :_PROMPT],
        speaker=speaker,
        rows=np.array(rows),
        logits=np.array(every),
        frames=np.array(frames),
    )


def talker(
    folder: Path, expected: Spoken, part: TalkerPart, step: str, prefill: str, *, exact: bool = True
) -> dict[str, float]:
    """Logits of the frames, each behind the expected ones; codes must be equal. Of an int8 graph, which is not
    `exact`, the difference and the share of codes that differ are only told."""
    shape = (1, part.kv_heads, part.positions + part.spare_positions, part.head_dim)
    cache = {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in range(part.layers) for kind in "kv"}
    feeds = {"text": expected.text[:, :_PROMPT], "codes": expected.codes, "speaker": expected.speaker}
    found = _run(folder / prefill, [feeds | lengths(_PROMPT) | cache])[0]
    cache = {name: found[name.replace("past", "present")] for name in cache}
    session, worst, differing = opened(folder / step), 0.0, 0
    names = [one.name for one in session.get_outputs()]
    for number, (row, logits, frame) in enumerate(zip(expected.rows, expected.logits, expected.frames, strict=True)):
        ids = expected.text[:, _PROMPT + number : _PROMPT + number + 1]
        feeds = {"text": ids, "codes": row[None, None]} | lengths(_PROMPT + number + 1) | greedy(part) | cache
        found = dict(zip(names, session.run(names, feeds), strict=True))
        cache = {name: found[name.replace("past", "present")] for name in cache}
        worst = max(worst, float(np.abs(found["logits"][0] - logits).max() / np.abs(logits).max()))
        differing += int((found["frames"][0] != frame).sum())
        if exact and differing:
            raise ParityError(f"frame {number}: torch says {frame.tolist()}, ONNX {found['frames'][0].tolist()}")
    if exact:
        return {"talker_logits": checked("talker", worst)}
    if not np.isfinite(worst):
        raise ParityError("talker: the int8 graph gives values that are no numbers")
    return {"talker_logits_int8": worst, "codes_that_differ_int8": differing / expected.frames.size}


def greedy(part: TalkerPart) -> dict[str, np.ndarray]:
    """Feeds of one row that draw the likeliest, without penalty or end."""
    inner = {
        "temperature": np.ones((1, 1), np.float32),
        "top_k": np.full((1, 1), part.most_likely),
        "top_p": np.ones((1, 1), np.float32),
    }
    return {
        **inner,
        **{f"inner_{name}": value for name, value in inner.items()},
        "generated": np.zeros((1, part.vocabulary), np.bool_),
        "penalty": np.ones((1, 1), np.float32),
        "may_end": np.zeros((1, 1), np.bool_),
        "numbers": np.zeros((1, part.codebooks), np.float32),
    }


@torch.no_grad()
def vocoder(path: Path, network: CodecDecoder, states: list[tuple[str, tuple[int, ...]]], frames: int) -> float:
    config = network.config
    codes = np.random.default_rng(2).integers(0, config.codebook_size, (1, frames, config.num_quantizers))
    expected = network(torch.from_numpy(codes))[0].numpy()
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    state = {name: np.zeros((1, *shape), np.float32) for name, shape in states}
    pieces = []
    for frame in range(frames):
        feeds = {"codes": codes[:, frame], "made": np.array([frame])} | state
        found = dict(zip(names, session.run(names, feeds), strict=True))
        state = {name: found[f"{name}_out"] for name in state}
        pieces.append(found["samples"])
    difference = np.abs(np.concatenate(pieces, axis=1) - expected).max()
    return checked("vocoder", float(difference / np.abs(expected).max()))


@torch.no_grad()
def embedding(path: Path, network: nn.Module) -> float:
    samples = np.random.default_rng(3).standard_normal((1, 30_000)).astype(np.float32) * 0.2
    expected = network(torch.from_numpy(samples)).numpy()
    found = _run(path, [{"samples": samples}])[0]["embedding"]
    return checked("speaker encoder", float(np.abs(found - expected).max() / np.abs(expected).max()))


@torch.no_grad()
def codes(path: Path, network: nn.Module, count: int, hop: int) -> float:
    """The share of codes that differ: a tie of two entries may fall either way."""
    samples = np.random.default_rng(4).standard_normal((1, 20 * hop)).astype(np.float32) * 0.2
    expected = network(torch.from_numpy(samples), count).numpy()
    differs = float((_run(path, [{"samples": samples}])[0]["codes"] != expected).mean())
    if differs > 0.01:
        raise ParityError(
            f"codec encoder: {differs:.1%} of the codes differ between torch and ONNX, at most 1% is right"
        )
    return differs


def checked(name: str, difference: float) -> float:
    if not difference <= TOLERANCE:
        raise ParityError(f"{name}: torch and ONNX differ by {difference:.2e}, at most {TOLERANCE:.0e} is right")
    return difference


def lengths(total: int) -> dict[str, np.ndarray]:
    return {"seqlens_k": np.array([total - 1], np.int32), "total_len": np.array([total], np.int32)}


def opened(path: Path) -> ort.InferenceSession:
    options = session_options()
    options.log_severity_level = 3
    return cpu_session(str(path), options)


def _run(path: Path, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    return [dict(zip(names, session.run(names, feeds), strict=True)) for feeds in calls]
