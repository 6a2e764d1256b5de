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
from engines.families.qwen3_tts.section import SamplingPart, TalkerPart
from engines.runtime.ort import cpu_session, ort, session_options
from models.checkpoints.qwen3_tts.codec_decoder import CodecDecoder
from models.checkpoints.qwen3_tts.talker import Talker
from models.exporting.errors import ParityError
from models.exporting.qwen3_tts.prompts import Prompt
from models.exporting.qwen3_tts.talker_graphs import frame_table

TOLERANCE = 1e-4  # of the largest value
STEPS = 12
# Of what int8 adds to the nats of a code. A tenth is a perplexity a tenth higher, and at most 22 % of the draws need
# differ (Pinsker's bound). The shipped voice's int8 took 0.008 (docs/decisions/0004).
MOST_NATS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Greedy frames of the network behind a prompt: what its graphs are fed, and what they must say."""

    prompt: Prompt
    speaker: FloatArray  # [1, opening, width]
    rows: IntArray  # [steps, Q]: of the frame table, that enter each step
    logits: FloatArray  # [steps, V]
    inner: FloatArray  # [steps, Q - 1, P]: of the codes behind the first
    frames: IntArray  # [steps, Q]


@torch.no_grad()
def spoken(network: Talker, part: TalkerPart, given: Prompt) -> Spoken:
    config, rng = network.config, np.random.default_rng(1)
    speaker = np.zeros((1, given.opening, config.hidden_size), np.float32)
    speaker[0, 2] = rng.standard_normal(config.hidden_size) * 0.3
    table = frame_table(network.state_dict(), config)

    def embedded(ids: IntArray, rows: IntArray) -> torch.Tensor:
        return network.text(torch.from_numpy(ids)) + table[torch.from_numpy(rows)].sum(2)

    opening = embedded(given.text[:, : given.opening], given.codes[:, : given.opening])
    _, _, past = network(opening + torch.from_numpy(speaker))
    row, rows, every, inner, frames = given.codes[:, given.opening :], [], [], [], []
    allowed = np.arange(config.vocab_size) < config.codes
    for number in range(given.opening, given.text.shape[1]):
        hidden, logits, past = network(embedded(given.text[:, number : number + 1], row), past)
        first = torch.tensor([int(np.where(allowed, logits[0, -1].numpy(), -np.inf).argmax())])
        rest = network.code_predictor.greedy_logits(hidden[:, -1], network.model.codec_embedding(first))
        rows.append(row[0, 0])
        every.append(logits[0, -1].numpy())
        inner.append(rest[0].numpy())
        frames.append(np.concatenate([first.numpy(), inner[-1].argmax(-1)]))
        row = (frames[-1] + part.starts)[None, None]
    return Spoken(
        prompt=given,
        speaker=speaker,
        rows=np.array(rows),
        logits=np.array(every),
        inner=np.array(inner),
        frames=np.array(frames),
    )


def talker(
    folder: Path, expected: Spoken, part: TalkerPart, step: str, prefill: str, int8_at: SamplingPart | None = None
) -> dict[str, float]:
    """Logits of the frames, each behind the expected ones; codes must be equal. An int8 graph, which cannot be, is
    judged by its distributions at these temperatures; its `step` gives all logits."""
    shape, given = (1, part.kv_heads, part.positions + part.spare_positions, part.head_dim), expected.prompt
    cache = {f"past_{kind}{layer}": np.zeros(shape, np.float32) for layer in range(part.layers) for kind in "kv"}
    feeds = {"text": given.text[:, : given.opening], "codes": given.codes[:, : given.opening]}
    found = _run(folder / prefill, [{**feeds, "speaker": expected.speaker} | lengths(given.opening) | cache])[0]
    cache = {name: found[name.replace("past", "present")] for name in cache}
    session, calls = opened(folder / step), []
    names = [one.name for one in session.get_outputs()]
    for number, row in enumerate(expected.rows):
        place = given.opening + number
        feeds = {"text": given.text[:, place : place + 1], "codes": row[None, None]}
        found = dict(zip(names, session.run(names, feeds | lengths(place + 1) | greedy(part) | cache), strict=True))
        cache = {name: found[name.replace("past", "present")] for name in cache}
        calls.append({name: value[0] for name, value in found.items() if name not in cache and "present" not in name})
        if int8_at is None and (found["frames"][0] != expected.frames[number]).any():
            right, wrong = expected.frames[number].tolist(), found["frames"][0].tolist()
            raise ParityError(f"frame {number}: torch says {right}, ONNX {wrong}")
    worst = max(
        float(np.abs(call["logits"] - logits).max() / np.abs(logits).max())
        for call, logits in zip(calls, expected.logits, strict=True)
    )
    if int8_at is None:
        return {"talker_logits": checked("talker", worst)}
    return {"talker_logits_int8": worst, **_int8_figures(expected, calls, part, int8_at)}


def _int8_figures(
    expected: Spoken, calls: list[dict[str, Any]], part: TalkerPart, sampling: SamplingPart
) -> dict[str, float]:
    """Codes are compared where all before them in the frame are equal, since behind another code another one is right.
    Raises above MOST_NATS."""
    nats, differing = [], 0
    for call, logits, inner, frame in zip(calls, expected.logits, expected.inner, expected.frames, strict=True):
        wanted = [logits[: part.codes], *inner]
        found = [call["logits"][: part.codes], *(call[f"inner_logits{q}"] for q in range(1, part.codebooks))]
        temperatures = [sampling.temperature or 1, *[sampling.inner_temperature or 1] * len(inner)]
        for q, pair in enumerate(zip(wanted, found, temperatures, strict=True)):
            nats.append(_nats(*pair))
            if call["frames"][q] != frame[q]:
                differing += 1
                break
    mean = float(np.mean(nats))
    figures = {"codes_that_differ_int8": differing / len(nats), "nats_int8": mean}
    if not mean <= MOST_NATS:  # nor where it is no number
        raise ParityError(
            f"talker: int8 adds {mean:.2f} nats a code, at most {MOST_NATS:g} is right ({figures_in_words(figures)}): "
            "export it with --dtype float32"
        )
    return figures


def figures_in_words(figures: dict[str, float]) -> str:
    nats, differ = figures["nats_int8"], figures["codes_that_differ_int8"]
    return f"{nats:.4f} nats a code beside float32, {differ:.0%} of the likeliest codes differ"


def _nats(wanted: FloatArray, found: FloatArray, temperature: float) -> float:
    """Kullback and Leibler's divergence of two distributions, by their logits."""
    both = [one.astype(np.float64) / temperature for one in (wanted, found)]
    ours, theirs = (one - one.max() - np.log(np.exp(one - one.max()).sum()) for one in both)
    return float((np.exp(ours) * (ours - theirs)).sum())


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
    options.log_severity_level = 4  # what it fails at, it raises
    return cpu_session(str(path), options)


def _run(path: Path, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    session = opened(path)
    names = [one.name for one in session.get_outputs()]
    return [dict(zip(names, session.run(names, feeds), strict=True)) for feeds in calls]
