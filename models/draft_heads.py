"""Draft heads: small networks that guess the LM's next picks from its hidden state, so that one forward checks several.

A step of the LM turns input x[t] into hidden h[t] and code[t], which goes into x[t + 1] with what the text says there.
A draft guesses the code at t + 1 from h[t] and x[t + 1], then, with its own guess inside x[t + 2], the next, and so on
(Hydra, arXiv 2402.05109; EAGLE, arXiv 2401.15077, without its attention, which brought less than depth).

A code is two halves of its digits, and a guess scores each half's 64 values for itself: the LM's own output matrix
would be half of a draft's cost. The likeliest code is guessed, also where a guess may miss the pick by some levels: the
code with the most around it is seldom wrong and always dull (docs/decisions/0009-draft-tolerance.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.speech_lm import FEATURES, WINDOW, SpeechLm, input_table

HALF = 64  # values of two digits of eight levels; code = low half + HALF * high half


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

    def guess(self, state: Tensor) -> Tensor:
        """state [..., D] -> the likeliest code [...]"""
        low, high = self.scores(state).argmax(-1).unbind(-1)
        return low + HALF * high


class DraftProposer(nn.Module):
    """The serving form for one sequence: codes follow one another inside the graph."""

    table: Tensor

    def __init__(self, lm: SpeechLm, heads: DraftHeads) -> None:
        super().__init__()
        self.lm, self.heads = lm, heads
        self.register_buffer("table", input_table(lm)[0], persistent=False)

    def forward(self, hidden: Tensor, code: Tensor, features: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
        """hidden [1, D] of the last step and its code [1]; features [K, F - 1] of the next K steps, without the code;
        scale [1] (1 / temperature, 1 when greedy) and the target's own noise [K, V] (zeros when greedy) -> codes [K]"""
        places = self.table[features].sum(1)
        state, codes = hidden, []
        for index in range(self.heads.config.length):
            state = self.heads(state, self.lm.code(code) + places[index], index)
            low, high = (self.heads.scores(state)[0] * scale).unbind(0)
            logits = high[:, None] + low + noise[index].view(HALF, HALF)
            code = logits.flatten().argmax(0, keepdim=True)
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
        }
