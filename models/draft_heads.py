"""Draft heads: small networks that guess the LM's next picks from its hidden state, so that one forward checks several.

A step of the LM turns input x[t] into hidden h[t] and code[t], which goes into x[t + 1] with what the text says there.
A draft guesses the code at t + 1 from h[t] and x[t + 1], then, with its own guess inside x[t + 2], the next, and so on
(Hydra, arXiv 2402.05109; EAGLE, arXiv 2401.15077, without its attention, which brought less than depth).

A code is two halves of its digits, and a guess scores each half's 64 values for itself: the LM's own output matrix
would be half of a draft's cost. Where a guess may miss the pick by some levels, the best one is not the likeliest code
but that with the most around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.speech_lm import FEATURES, WINDOW, SpeechLm, input_table

LEVELS = 8  # of each digit
HALF = LEVELS * LEVELS  # values of two digits; code = low half + HALF * high half


def level_distances() -> Tensor:
    """[HALF, HALF]: by how many levels two values of a half differ in the digit that differs most."""
    value = torch.arange(HALF)
    digits = torch.stack([value % LEVELS, value // LEVELS], 1)
    return (digits[:, None] - digits[None]).abs().amax(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftConfig:
    length: int = 3  # codes guessed at most
    hidden: int = 512
    layers: int = 3


class DraftHeads(nn.Module):
    """y = norm(state, x), kept = state + carry(y); then for each MLP kept += mlp(y), y = norm(kept)."""

    def __init__(self, config: DraftConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.step = nn.Embedding(config.length, width)
        self.enter_norm = nn.RMSNorm(2 * width, eps=1e-5)
        self.carry = nn.Linear(2 * width, width, bias=False)
        entering = [2 * width] + [width] * (config.layers - 1)
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(config.layers))  # behind each MLP
        # Nothing is added to a product: in serving each of them would be a kernel more.
        self.enter = nn.ModuleList(nn.Linear(size, config.hidden, bias=False) for size in entering)
        self.leave = nn.ModuleList(nn.Linear(config.hidden, width, bias=False) for _ in range(config.layers))
        self.halves = nn.Linear(width, 2 * HALF, bias=False)
        nn.init.zeros_(self.step.weight)
        for layer in self.leave:
            nn.init.zeros_(layer.weight)

    def forward(self, state: Tensor, x: Tensor, index: int) -> Tensor:
        """state [..., D], x [..., D] -> the state of guess `index`, [..., D]"""
        y = self.enter_norm(torch.cat([state, x + self.step.weight[index]], -1))
        kept = state + self.carry(y)
        for norm, enter, leave in zip(self.norms, self.enter, self.leave, strict=True):
            kept = kept + leave(F.silu(enter(y)))
            y = norm(kept)
        return y

    def scores(self, state: Tensor) -> Tensor:
        """state [..., D] -> logits [..., 2, HALF], the low half's first"""
        return self.halves(state).unflatten(-1, (2, HALF))

    def guess(self, state: Tensor, tolerance: int = 0) -> Tensor:
        """The code [...] with the most within `tolerance` levels of it, no noise added."""
        around = (level_distances() <= tolerance).float()
        low, high = (self.scores(state).float().softmax(-1) @ around).argmax(-1).unbind(-1)
        return low + HALF * high


class DraftProposer(nn.Module):
    """The serving form for one sequence: codes follow one another inside the graph."""

    table: Tensor
    distances: Tensor

    def __init__(self, lm: SpeechLm, heads: DraftHeads) -> None:
        super().__init__()
        self.lm, self.heads = lm, heads
        self.register_buffer("table", input_table(lm)[0], persistent=False)
        self.register_buffer("distances", level_distances(), persistent=False)

    def forward(
        self, hidden: Tensor, code: Tensor, features: Tensor, scale: Tensor, noise: Tensor, tolerance: Tensor
    ) -> Tensor:
        """hidden [1, D] of the last step and its code [1]; features [K, F - 1] of the next K steps, without the code;
        scale [1] (1 / temperature, 1 when greedy), the target's own noise [K, V] (zeros when greedy) and the levels
        [1] that a guess may miss -> codes [K]"""
        places, around = self.table[features].sum(1), (self.distances <= tolerance).float()
        state, codes = hidden, []
        for index in range(self.heads.config.length):
            state = self.heads(state, self.lm.code(code) + places[index], index)
            low, high = (self.heads.scores(state)[0] * scale).unbind(0)
            logits = high[:, None] + low + noise[index].view(HALF, HALF)
            likely = logits.flatten().softmax(0).view(HALF, HALF)
            code = (around @ likely @ around).flatten().argmax(0, keepdim=True)
            codes.append(code)
        return torch.cat(codes)

    def example_inputs(self) -> dict[str, Tensor]:
        """Zero inputs of the serving form, by name."""
        width, vocabulary, length = self.lm.config.width, self.lm.to_code.out_features, self.heads.config.length
        return {
            "hidden": torch.zeros(1, width),
            "code": torch.zeros(1, dtype=torch.long),
            "features": torch.zeros(length, len(FEATURES) - 2 + len(WINDOW), dtype=torch.long),
            "scale": torch.ones(1),
            "noise": torch.zeros(length, vocabulary),
            "tolerance": torch.zeros(1, dtype=torch.long),
        }
