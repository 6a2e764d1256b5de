"""Draft heads: small networks that guess the LM's next picks from its hidden state, so that one forward checks several.

A step of the LM turns input x[t] into hidden h[t] and the pick (code[t], advance[t]), which together make x[t + 1]. A
draft guesses the pick at t + 1 from h[t] and x[t + 1], then, with its own guess inside x[t + 2], the next, and so on.
The heads share the LM's embeddings and output matrices. Two kinds, compared by measurement:

    sequential   s[k] = norm(s[k-1] + mlp(s[k-1], x[t + k]))     (Hydra, arXiv 2402.05109; EAGLE, arXiv 2401.15077)
    parallel     s[k] = norm(h + mlp_k(h, x[t + 1]))             (Medusa, arXiv 2401.10774)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.speech_lm import LOOK_AHEAD_PHONES, MAX_ADVANCE, MAX_ELAPSED, WINDOW, LmInputs, SpeechLm


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftConfig:
    length: int = 3  # picks guessed at most
    hidden: int = 512
    sequential: bool = True


def offsets(config: DraftConfig) -> int:
    """Places of the pointer that the guesses need: its own, and every one that the moves before the last can reach."""
    return 1 + MAX_ADVANCE * (config.length - 1)


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
    """The serving form for one sequence: picks follow one another inside the graph.

    What the LM would see is laid out by how far the pointer has moved, since the moves are guessed too.
    """

    def __init__(self, lm: SpeechLm, heads: DraftHeads) -> None:
        super().__init__()
        self.lm, self.heads = lm, heads

    def forward(
        self,
        hidden: Tensor,
        code: Tensor,
        elapsed: Tensor,
        phones: Tensor,
        to_pause: Tensor,
        pause_type: Tensor,
        speaker: Tensor,
        speed: Tensor,
        scale: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """hidden [1, D] of the last step and its code [1]; elapsed [1] after its move; phones [O, W], to_pause [O] and
        pause_type [O] from the pointer on; speaker [1], speed [1]; scale [1] (1 / temperature, 1 when greedy) and the
        target's own noise [K, V] (zeros when greedy) -> codes [K], advances [K]"""
        state, offset = hidden, torch.zeros_like(code)
        x = self._embed(code, elapsed, offset, phones, to_pause, pause_type, speaker, speed)
        first, codes, advances = x, [], []
        for index in range(self.heads.config.length):
            state = self.heads(state, x, index) if self.heads.config.sequential else self.heads(hidden, first, index)
            code = (self.lm.to_code(state) * scale + noise[index : index + 1]).argmax(-1)
            advance = self.lm.to_advance(state).argmax(-1)
            codes.append(code)
            advances.append(advance)
            if index + 1 < self.heads.config.length and self.heads.config.sequential:
                offset = torch.clamp(offset + advance, max=offsets(self.heads.config) - 1)
                elapsed = torch.where(advance > 0, 0, torch.clamp(elapsed + 1, max=MAX_ELAPSED))
                x = self._embed(code, elapsed, offset, phones, to_pause, pause_type, speaker, speed)
        return torch.cat(codes), torch.cat(advances)

    def _embed(
        self,
        code: Tensor,
        elapsed: Tensor,
        offset: Tensor,
        phones: Tensor,
        to_pause: Tensor,
        pause_type: Tensor,
        speaker: Tensor,
        speed: Tensor,
    ) -> Tensor:
        return self.lm.embed(
            LmInputs(
                code=code,
                phones=phones[offset],
                elapsed=elapsed,
                to_pause=to_pause[offset],
                pause_type=pause_type[offset],
                speaker=speaker,
                speed=speed,
            )
        )

    def example_inputs(self) -> dict[str, Tensor]:
        """Zero inputs of the serving form, by name."""
        width, vocabulary, places = self.lm.config.width, self.lm.to_code.out_features, offsets(self.heads.config)
        one = torch.zeros(1, dtype=torch.long)
        return {
            "hidden": torch.zeros(1, width),
            "code": one,
            "elapsed": one.clone(),
            "phones": torch.zeros(places, len(WINDOW), dtype=torch.long),
            "to_pause": torch.full((places,), LOOK_AHEAD_PHONES),
            "pause_type": torch.zeros(places, dtype=torch.long),
            "speaker": one.clone(),
            "speed": torch.zeros(1),
            "scale": torch.ones(1),
            "noise": torch.zeros(self.heads.config.length, vocabulary),
        }
