"""Causal layers whose state is an argument and a result.

Nothing here stores state on the module: `forward(x, state) -> (y, state)` is pure, so the exported graph streams what
the network was trained to say. Convolutions are written as shifted multiply-add, because a row keeps its bits in that
form whatever the chunk length; library convolutions choose another kernel when the length changes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConvNeXt(nn.Module):
    """ConvNeXt block (Liu et al., arXiv 2201.03545) over time, looking `kernel - 1` steps back and none ahead."""

    def __init__(self, width: int, hidden: int, kernel: int = 7) -> None:
        super().__init__()
        self.context = kernel - 1
        self.depthwise = nn.Parameter(torch.randn(kernel, width) / kernel**0.5)
        self.depthwise_bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, D], state [B, kernel - 1, D] -> y [B, T, D], state [B, kernel - 1, D]."""
        padded = torch.cat([state, x], dim=1)
        mixed: Tensor = self.depthwise_bias
        for tap in range(self.context + 1):
            # Counted from the end, the places are constants of the graph; otherwise each costs an operator.
            end = tap - self.context if tap < self.context else None
            mixed = mixed + padded[:, tap:end] * self.depthwise[tap]
        y = x + self.scale * self.contract(F.gelu(self.expand(self.norm(mixed))))
        return y, padded[:, -self.context :]

    def whole(self, x: Tensor) -> Tensor:
        """The same over a whole sequence from silence, as one library convolution: faster to train, equal to 1e-6.

        x [B, T, D] -> y [B, T, D]
        """
        weight = self.depthwise.t()[:, None]
        padded = F.pad(x.transpose(1, 2), (self.context, 0))
        mixed = F.conv1d(padded, weight, self.depthwise_bias, groups=weight.shape[0]).transpose(1, 2)
        return x + self.scale * self.contract(F.gelu(self.expand(self.norm(mixed))))


class ConvNeXt(nn.Module):
    """The non-causal block of the encoder, which runs offline only."""

    def __init__(self, width: int, hidden: int, kernel: int = 7) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] -> y [B, T, D]."""
        mixed = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.contract(F.gelu(self.expand(self.norm(mixed))))
