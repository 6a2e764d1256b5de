"""An experiment: a speech LM that says several codes a step, so that an audio second takes fewer forwards.

    python -m models.experiments.merged_codes --codes FILE --out FILE --codes-per-step 2 --cpu-minutes 12

Step j sees the text at each of its codes and the codes of step j - 1, all added up; those of each place but the first
pass a matrix of their own, so that order is kept. Its hidden state says the first code; a small head, fed the codes
spoken so far, the next ones. With 1 code a step it is `models.speech_lm`. Nothing here is served: the result is
docs/decisions/0012-merged-codes.md.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engines.text import NUM_PHONE_IDS
from models.checkpoint import TrainingState
from models.code_files import read_codes
from models.lm_data import IGNORED, Example, collate
from models.speech_lm import BEGIN_CODE, LmConfig, LmInputs, SpeechLm, rotary_table
from models.train_lm import Batches, learning_rate
from models.training_loop import train

LEVELS = torch.tensor([1, 8, 64, 512])
HEAD_WIDTH = 512


class MergedLm(nn.Module):
    """M codes a step. T codes of an utterance are J = T / M steps."""

    def __init__(self, config: LmConfig, codes_per_step: int) -> None:
        super().__init__()
        self.codes_per_step, width = codes_per_step, config.width
        self.lm = SpeechLm(config)
        self.place = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(codes_per_step - 1))
        self.enter = nn.ModuleList(nn.Linear(2 * width, HEAD_WIDTH) for _ in range(codes_per_step - 1))
        self.leave = nn.ModuleList(nn.Linear(HEAD_WIDTH, width) for _ in range(codes_per_step - 1))
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(codes_per_step - 1))

    def hidden(self, inputs: LmInputs) -> Tensor:
        """inputs [B, T] as `stepped` lays them out -> [B, J, D]"""
        embedded = self.lm.embed(inputs).unflatten(1, (-1, self.codes_per_step))
        x = embedded[:, :, 0]
        for index, matrix in enumerate(self.place):
            x = x + matrix(embedded[:, :, index + 1])
        cosine, sine = rotary_table(x.shape[1], self.lm.config.head_dim)
        cosine, sine = torch.cat([cosine, cosine], -1).to(x), torch.cat([sine, sine], -1).to(x)
        for block in self.lm.blocks:
            x = block(x, cosine, sine)
        result: Tensor = self.lm.norm(x)
        return result

    def next_state(self, state: Tensor, emitted: Tensor, index: int) -> Tensor:
        """state [..., D] that emitted the code [...] of place `index` -> the state [..., D] of the next place"""
        inner = self.enter[index](torch.cat([state, self.lm.code(emitted)], -1))
        result: Tensor = self.norms[index](state + self.leave[index](F.silu(inner)))
        return result

    def forward(self, inputs: LmInputs, codes: Tensor) -> Tensor:
        """With the true codes [B, T] -> states [B, T, D], from which `lm.to_code` reads each code"""
        states = [self.hidden(inputs)]
        emitted = codes.clamp(min=0).unflatten(1, (-1, self.codes_per_step))
        for index in range(self.codes_per_step - 1):
            states.append(self.next_state(states[-1], emitted[:, :, index], index))
        return torch.stack(states, 2).flatten(1, 2)

    @torch.no_grad()
    def speak(self, inputs: LmInputs) -> Tensor:
        """The greedy codes [B, T]; the codes in `inputs` are overwritten. Every step runs all that came before."""
        count = self.codes_per_step
        codes = torch.full_like(inputs.code, BEGIN_CODE)
        for start in range(0, codes.shape[1], count):
            inputs.code[:, start : start + count] = codes[:, start - count : start] if start else BEGIN_CODE
            seen = LmInputs(**{one.name: getattr(inputs, one.name)[:, : start + count] for one in fields(LmInputs)})
            state = self.hidden(seen)[:, -1]
            for index in range(count):
                codes[:, start + index] = self.lm.to_code(state).argmax(-1)
                if index + 1 < count:
                    state = self.next_state(state, codes[:, start + index], index)
        return codes


def stepped(inputs: LmInputs, codes: Tensor, codes_per_step: int) -> tuple[LmInputs, Tensor]:
    """Fills up to whole steps and lets each step see the codes of the step before; with 1 nothing changes."""
    missing = -codes.shape[1] % codes_per_step
    shapes = {one.name: getattr(inputs, one.name) for one in fields(LmInputs)}
    padded = {name: F.pad(value, (0, 0) * (value.dim() - 2) + (0, missing)) for name, value in shapes.items()}
    # `code` at t is that of t - 1: codes_per_step - 1 places later it is that of the step before.
    late = codes_per_step - 1
    padded["code"] = F.pad(padded["code"], (late, 0), value=BEGIN_CODE)[:, : padded["code"].shape[1]]
    return LmInputs(**padded), F.pad(codes, (0, missing), value=IGNORED)


def losses(network: MergedLm, inputs: LmInputs, codes: Tensor) -> tuple[Tensor, Tensor]:
    """-> the cross-entropy and the logits of every known code, in the order of `codes[codes != IGNORED]`"""
    inputs, codes = stepped(inputs, codes, network.codes_per_step)
    known = codes != IGNORED
    with torch.autocast("cpu", torch.bfloat16):
        logits = network.lm.to_code(network(inputs, codes)[known]).float()
    return F.cross_entropy(logits, codes[known], reduction="none"), logits


@torch.no_grad()
def evaluate(network: MergedLm, examples: list[Example]) -> dict[str, float]:
    """Means over all codes, and the cross-entropy at each place of a step."""
    network.eval()
    rows, places = [], []
    for start in range(0, len(examples), 8):
        inputs, codes = collate(examples[start : start + 8])
        nats, logits = losses(network, inputs, codes)
        truth, best = codes[codes != IGNORED], logits.argmax(-1)
        distance = (best[:, None] // LEVELS % 8 - truth[:, None] // LEVELS % 8).abs().amax(-1)
        rows.append(torch.stack([nats, (best == truth).float(), (distance <= 1).float()], 1))
        places.append(torch.arange(codes.shape[1]).expand_as(codes)[codes != IGNORED] % network.codes_per_step)
    network.train()
    every, place = torch.cat(rows), torch.cat(places)
    found = dict(zip(("code_nats", "top1", "within_one_level"), every.mean(0).tolist(), strict=True))
    by_place = {f"nats_at_{index}": float(every[place == index, 0].mean()) for index in range(network.codes_per_step)}
    return found | by_place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--codes-per-step", type=int, default=2)
    parser.add_argument("--cpu-minutes", type=float, default=12)
    parser.add_argument("--tokens", type=int, default=1600, help="codes a batch")
    parser.add_argument("--peak", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    examples = read_codes(arguments.codes).examples
    batches = Batches(examples, arguments.tokens, rng)
    config = LmConfig(voices=1 + max(one.speaker for one in examples), num_phone_ids=NUM_PHONE_IDS)
    network = MergedLm(config, arguments.codes_per_step)
    optimiser = torch.optim.AdamW(network.parameters(), arguments.peak, betas=(0.9, 0.95), weight_decay=0.02)
    state = TrainingState(arguments.out, network, optimiser, arguments.cpu_minutes * 60, rng)
    train(
        state,
        lambda step, progress: learning_rate(step, progress, arguments.peak),
        lambda: losses(network, *batches.draw())[0].mean(),
        lambda: evaluate(network, batches.held_out),
    )


if __name__ == "__main__":
    main()
