"""Log-mel spectrograms and the spectral losses of the codec. Offline only."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.excitation import SAMPLE_RATE_HZ


def mel_filters(bands: int, window: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, [bands, window // 2 + 1]."""

    def to_mel(hz: float) -> float:
        return float(2595 * np.log10(1 + hz / 700))

    edges = 700 * (10 ** (np.linspace(to_mel(0), to_mel(SAMPLE_RATE_HZ / 2), bands + 2) / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, window // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))


def magnitude(samples: Tensor, window: Tensor, hop: int) -> Tensor:
    """samples [B, S] -> [B, len(window) // 2 + 1, S // hop + 1]. In real numbers: the backward pass of a complex
    absolute value takes several times as long."""
    spectrum = torch.view_as_real(torch.stft(samples, len(window), hop, window=window, return_complex=True))
    return (spectrum.square().sum(-1) + 1e-12).sqrt()


class LogMel(nn.Module):
    """samples [B, S] -> log-mel [B, bands, S // hop + 1]"""

    def __init__(self, window: int = 1024, hop: int = 160, bands: int = 80) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        filters = torch.tensor(mel_filters(bands, window), dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            return torch.log(torch.clamp(self.filters @ magnitude(samples, self.window, self.hop), min=1e-4))


class SpectralLoss(nn.Module):
    """Log-magnitude distance and spectral convergence at three resolutions (Yamamoto et al., arXiv 1910.11480)."""

    def __init__(self) -> None:
        super().__init__()
        self.resolutions = ((256, 64), (512, 128), (1024, 256))
        for size, _ in self.resolutions:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        total = ours.new_zeros(())
        for size, hop in self.resolutions:
            window = getattr(self, f"window_{size}")
            a, b = magnitude(ours, window, hop), magnitude(theirs, window, hop)
            total = total + (torch.log(a.clamp(min=1e-3)) - torch.log(b.clamp(min=1e-3))).abs().mean()
            total = total + 0.5 * ((a - b) ** 2).sum().sqrt() / ((b**2).sum().sqrt() + 1e-3)
        return total / len(self.resolutions)
