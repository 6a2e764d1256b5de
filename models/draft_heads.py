"""Draft heads: small networks that guess the LM's next picks from its hidden state, so that one forward checks several.

A step of the LM turns input x[t] into hidden h[t] and code[t], which goes into x[t + 1] with what the text says there.
A draft guesses the code at t + 1 from h[t] and x[t + 1], then, with its own guess inside x[t + 2], the next, and so on.
The heads share the LM's embeddings and output matrices. Two kinds, compared by measurement:

    sequential   s[k] = norm(s[k-1] + mlp(s[k-1], x[t + k]))     (Hydra, arXiv 2402.05109; EAGLE, arXiv 2401.15077)
    parallel     s[k] = norm(h + mlp_k(h, x[t + 1]))             (Medusa, arXiv 2401.10774)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.speech_lm import FEATURES, WINDOW, SpeechLm, input_table


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftConfig:
    length: int = 3  # codes guessed at most
    hidden: int = 512
    sequential: bool = True


class DraftHeads(nn.Module):
    def __init__(self, config: DraftConfig, width: int) -> None:
        super().__init__()
        self.config = config
        mlps = 1 if config.sequential else config.length
        self.enter = nn.ModuleList(nn.Linear(2 * width, config.hidden) for _ in range(mlps))
        self.leave = nn.ModuleList(nn.Linear(config.hidden, width) for _ in range(mlps))
        self.step = nn.Embedding(config.length, config.hidden)
        self.norm = nn.RMSNorm(width, eps=1e-5)
        nn.init.zeros_(self.step.weight)
        for layer in self.leave:
            nn.init.zeros_(layer.weight)  # the first guess is the LM's own last opinion
            nn.init.zeros_(layer.bias)

    def forward(self, state: Tensor, x: Tensor, index: int) -> Tensor:
        """state [..., D], x [..., D] -> the state of guess `index`, [..., D]"""
        mlp = 0 if self.config.sequential else index
        inner = self.enter[mlp](torch.cat([state, x], -1)) + self.step.weight[index]
        result: Tensor = self.norm(state + self.leave[mlp](F.silu(inner)))
        return result

    def unrolled(self, hidden: Tensor, embedded: Tensor) -> list[Tensor]:
        """All positions of whole utterances, with the true picks as inputs.

        hidden, embedded [B, T, D] -> for k = 1..length the states [B, T - k, D] that guess positions k..T-1
        """
        length = hidden.shape[1]
        states, state = [], hidden[:, :-1]
        for index in range(self.config.length):
            if self.config.sequential:
                state = self.forward(state[:, : length - 1 - index], embedded[:, 1 + index :], index)
            else:
                reach = length - 1 - index
                state = self.forward(hidden[:, :reach], embedded[:, 1 : reach + 1], index)
            states.append(state)
        return states


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
            x = self.lm.code(code) + places[index if self.heads.config.sequential else 0]
            state = self.heads(state if self.heads.config.sequential else hidden, x, index)
            guess = (self.lm.to_code(state) * scale + noise[index : index + 1]).argmax(-1)
            codes.append(guess)
            if self.heads.config.sequential:
                code = guess
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
