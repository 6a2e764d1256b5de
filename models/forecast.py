"""The forecast: what the text and the last code alone say of the next one. A small network beside the speech model.

    logits of the served model[t] = LM[all past, x[t]] + forecast[norm(x[t])]    x[t]: what the LM's input adds up to

The LM's favourite code has a third of its probability and a neighbour hardly less: which one is sampled is noise, to
the ear and to a drafter. The sum (a product of experts, Hinton 2002) prefers the one that the forecast prefers too. And
the forecast is the drafter: it needs no past but the last code, so it goes on from its own guesses, and a guess stands
wherever the LM does not object. Nothing is approximated: the samples are the sum's own, with drafts and without
(docs/decisions/0013-a-forecast-beside-the-speech-model.md).

It reads what the LM's first block reads, behind its norm. A code is two halves of its digits, and each half's 64 values
are scored by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HALF = 64  # values of two digits of eight levels; code = low half + HALF * high half
WEIGHT = 2.0  # of the trained forecast beside the LM


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastConfig:
    width: int  # of the LM's input
    first: int = 512
    second: int = 512


class Forecast(nn.Module):
    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.config = config
        # Nothing is added to a product: in serving each of them would be a kernel more.
        self.first = nn.Linear(config.width, config.first, bias=False)
        self.second = nn.Linear(config.first, config.second, bias=False)
        self.halves = nn.Linear(config.second, 2 * HALF, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., D], normed -> scores [..., 2, HALF], the low half's first"""
        scores: Tensor = self.halves(F.silu(self.second(F.silu(self.first(x)))))
        return scores.unflatten(-1, (2, HALF))

    def logits(self, x: Tensor) -> Tensor:
        """x [..., D], normed -> logits of codes [..., HALF * HALF]"""
        low, high = self(x).unbind(-2)
        return (high[..., :, None] + low[..., None, :]).flatten(-2)

    def weighted(self, weight: float) -> Forecast:
        """The same opinion, so many times as sure."""
        surer = Forecast(self.config)
        surer.load_state_dict(self.state_dict())
        with torch.no_grad():
            surer.halves.weight.mul_(weight)
        return surer.eval()


def losses(forecast: Forecast, x: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """x [N, D], normed, codes [N] -> mean cross-entropy, the likeliest codes [N]"""
    low, high = forecast(x).float().unbind(-2)
    loss = F.cross_entropy(low, codes % HALF) + F.cross_entropy(high, codes // HALF)
    return loss, low.argmax(-1) + HALF * high.argmax(-1)
