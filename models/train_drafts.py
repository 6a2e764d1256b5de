"""Trains draft heads on the LM's own speech: python -m models.train_drafts --lm FILE --samples FILE --out FILE

The LM stays as it is. Reported is what serving will see: how often the first guess is the LM's own pick, or one level
off, and the acceptance length (tokens a forward emits, the LM's own included) where such guesses stand.
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
from models.draft_heads import HALF, DraftConfig, DraftHeads
from models.finish import load_lm
from models.lm_data import IGNORED, collate
from models.own_samples import OwnSample
from models.speech_lm import LmInputs, SpeechLm

HELD_OUT = 40
DECAY = 0.8  # weight of a guess against the one before it, which it needs to be right
EXACT = 0.4  # of the loss, to the pick itself; the rest to all within one level of it
FORESEEN = 1.0  # weight of the distance to the LM's next hidden state, from which the guess behind starts


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


def losses(lm: SpeechLm, heads: DraftHeads, given: Batch, guesses: int) -> Tensor:
    """Over so many guesses from all positions, with the true picks as inputs."""
    inputs, codes, hidden = given
    with torch.no_grad():
        embedded = lm.embed(inputs)
    near, total, state = (_half_distances() <= 1).float(), torch.zeros(()), hidden[:, :-1]
    with torch.autocast("cpu", torch.bfloat16):
        for index in range(guesses):
            state = heads(state[:, : codes.shape[1] - 1 - index], embedded[:, 1 + index :], index)
            code, true = codes[:, 1 + index :], hidden[:, 1 + index :]
            known = code != IGNORED
            logits = heads.scores(state[known]).float().log_softmax(-1)
            picked = torch.stack([code[known] % HALF, code[known] // HALF], -1)[..., None]
            exact = -logits.gather(-1, picked).sum(1).mean()
            around = -((logits.exp() @ near).gather(-1, picked) + 1e-6).log().sum(1).mean()
            foreseen = F.smooth_l1_loss(state[known].float(), true[known])
            total = total + DECAY**index * (EXACT * exact + (1 - EXACT) * around + FORESEEN * foreseen)
    return total


def _half_distances() -> Tensor:
    """[HALF, HALF]: by how many levels two values of a half differ in the digit that differs most."""
    value = torch.arange(HALF)
    digits = torch.stack([value % 8, value // 8], 1)
    return (digits[:, None] - digits[None]).abs().amax(-1)


@torch.no_grad()
def stood(lm: SpeechLm, heads: DraftHeads, given: Batch, tolerance: int) -> tuple[Tensor, list[Tensor]]:
    """From which positions [B, T - 1] anything is to be guessed; for each guess [B, T - k], whether it stands and all
    before it. With a tolerance the picks are those that follow the LM's own past, not the guesses: near the truth."""
    inputs, codes, hidden = given
    texts = lm.embed(inputs) - lm.code(inputs.code)
    code, state, alive, found = inputs.code[:, 1:], hidden[:, :-1], codes[:, 1:] != IGNORED, []
    begun = alive
    for index in range(heads.config.length):
        reach = codes.shape[1] - 1 - index
        state = heads(state[:, :reach], texts[:, 1 + index :] + lm.code(code[:, :reach]), index)
        code, pick = heads.guess(state), codes[:, 1 + index :]
        missed = [code // level % 8 - pick // level % 8 for level in (1, 8, 64, 512)]
        alive = alive[:, :reach] & (pick != IGNORED) & (torch.stack(missed).abs().amax(0) <= tolerance)
        found.append(alive)
    return begun, found


def evaluate(lm: SpeechLm, heads: DraftHeads, samples: list[OwnSample]) -> dict[str, float]:
    """The share of first guesses that stand and the tokens a forward emits, exactly and one level off."""
    figures = {}
    for tolerance, name in ((0, ""), (1, "near_")):
        begun, kept = 0, np.zeros(heads.config.length)
        for start in range(0, len(samples), 8):
            here, found = stood(lm, heads, batch(samples[start : start + 8]), tolerance)
            begun += int(here.sum())
            kept += [int(one.sum()) for one in found]
        figures[f"{name}guess1"] = float(kept[0]) / begun
        figures[f"{name}acceptance_length"] = 1 + float(kept.sum()) / begun
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="what models.own_samples wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cpu-minutes", type=float, default=20)
    parser.add_argument("--length", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--peak", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    lm, _ = load_lm(arguments.lm)
    lm.requires_grad_(False)
    rng = np.random.default_rng(0)
    batches = SampleBatches(pickle.loads(arguments.samples.read_bytes()), arguments.tokens, rng)
    config = DraftConfig(length=arguments.length, hidden=arguments.hidden, layers=arguments.layers)
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
        # The first guess is learned alone for half of the time: those behind it start from its state.
        loss = losses(lm, heads, batches.draw(), 1 if state.progress < 0.5 else config.length)
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
