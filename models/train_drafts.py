"""Trains draft heads on the LM's own speech: python -m models.train_drafts --lm FILE --samples FILE --out FILE

The LM stays as it is. Reported is what serving will see: how often a guess is the LM's own pick, given that the guesses
before it were, and the acceptance length (tokens a forward emits, the LM's own included) that follows.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoint import TrainingState
from models.draft_heads import DraftConfig, DraftHeads
from models.finish import load_lm
from models.lm_data import IGNORED, collate
from models.own_samples import OwnSample
from models.speech_lm import LmInputs, SpeechLm

HELD_OUT = 40
DECAY = 0.8  # weight of a guess against the one before it, which it needs to be right


Batch = tuple[LmInputs, Tensor, Tensor]  # inputs, codes [B, T], hidden [B, T, D]


class SampleBatches:
    """Samples of similar length together, about `tokens` steps a batch."""

    def __init__(self, samples: list[OwnSample], tokens: int, rng: np.random.Generator) -> None:
        self.rng, self.tokens = rng, tokens
        order = rng.permutation(len(samples))
        kept = min(HELD_OUT, len(samples) // 4)
        self.held_out = [samples[index] for index in order[:kept]]
        self.train = sorted((samples[index] for index in order[kept:]), key=lambda one: len(one.example.codes))
        self._ends = np.cumsum([len(one.example.codes) for one in self.train])

    def draw(self) -> Batch:
        end = int(np.searchsorted(self._ends, self.rng.integers(self._ends[-1]), side="right")) + 1
        rows = max(1, self.tokens // len(self.train[end - 1].example.codes))
        return batch(self.train[max(0, end - rows) : end])


def batch(samples: list[OwnSample]) -> Batch:
    inputs, codes = collate([one.example for one in samples])
    hidden = np.zeros((*codes.shape, samples[0].hidden.shape[1]), np.float32)
    for row, one in enumerate(samples):
        hidden[row, : len(one.hidden)] = one.hidden
    return inputs, codes, torch.from_numpy(hidden)


def losses(lm: SpeechLm, heads: DraftHeads, given: Batch) -> tuple[Tensor, list[Tensor]]:
    """The loss and, for each guess, where it is the LM's pick [B, T - k]."""
    inputs, codes, hidden = given
    with torch.no_grad():
        embedded = lm.embed(inputs)
    total, right = torch.zeros(()), []
    with torch.autocast("cpu", torch.bfloat16):
        states = heads.unrolled(hidden, embedded)
        for index, state in enumerate(states):
            code = codes[:, 1 + index :]
            known = code != IGNORED
            logits = lm.to_code(state[known]).float()
            total = total + DECAY**index * F.cross_entropy(logits, code[known])
            found = torch.zeros_like(known)
            found[known] = logits.argmax(-1) == code[known]
            right.append(found)
    return total, right


@torch.no_grad()
def evaluate(lm: SpeechLm, heads: DraftHeads, samples: list[OwnSample]) -> dict[str, float]:
    """Acceptance as `_live` would see it, over all positions."""
    reached, kept = np.zeros(heads.config.length), np.zeros(heads.config.length)
    for start in range(0, len(samples), 8):
        given = batch(samples[start : start + 8])
        _, right = losses(lm, heads, given)
        known = given[1] != IGNORED  # what only fills up a shorter sample is no miss
        alive = known[:, 1:]
        for index, found in enumerate(right):
            alive = alive[:, : found.shape[1]] & known[:, 1 + index :]
            reached[index] += float(alive.sum())
            alive = alive & found
            kept[index] += float(alive.sum())
    shares = kept / np.maximum(reached, 1)
    length = 1 + float(np.cumprod(shares).sum())
    return {f"guess{index + 1}": share for index, share in enumerate(shares)} | {"acceptance_length": length}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="what models.own_samples wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=20)
    parser.add_argument("--length", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--kind", choices=("sequential", "parallel"), default="sequential")
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--peak", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    lm, _ = load_lm(arguments.lm)
    lm.requires_grad_(False)
    rng = np.random.default_rng(0)
    batches = SampleBatches(pickle.loads(arguments.samples.read_bytes()), arguments.tokens, rng)
    config = DraftConfig(length=arguments.length, hidden=arguments.hidden, sequential=arguments.kind == "sequential")
    heads = DraftHeads(config, lm.config.width)
    optimiser = torch.optim.AdamW(heads.parameters(), arguments.peak, betas=(0.9, 0.95), weight_decay=0.02)
    state = TrainingState(arguments.out, heads, optimiser, arguments.cpu_minutes * 60, rng)
    if arguments.resume:
        state.resume()
    recent: list[float] = []
    next_report = time.monotonic() + 20
    while not state.done:
        for group in optimiser.param_groups:
            group["lr"] = arguments.peak * min(1.0, state.step / 60 + 0.02) * max(0.03, 1 - state.progress)
        loss, _ = losses(lm, heads, batches.draw())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
        optimiser.step()
        state.advance()
        recent.append(float(loss.detach()))
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 60
            state.report({"loss": float(np.mean(recent))} | evaluate(lm, heads, batches.held_out))
            recent.clear()
            state.save()
    state.report(evaluate(lm, heads, batches.held_out))
    state.save()


if __name__ == "__main__":
    main()
