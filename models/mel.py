"""Log-mel spectrograms and the spectral losses of the codec. Offline only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.framing import SAMPLE_RATE_HZ


def mel_filters(bands: int, window: int) -> np.ndarray:
    """Triangular filters on the HTK mel scale, [bands, window // 2 + 1]."""

    def to_mel(hz: float) -> float:
        return float(2595 * np.log10(1 + hz / 700))

    edges = 700 * (10 ** (np.linspace(to_mel(0), to_mel(SAMPLE_RATE_HZ / 2), bands + 2) / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, window // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)))


class _Magnitudes(torch.autograd.Function):
    """frames [..., N] -> [..., N // 2 + 1]. PyTorch's own backward pass through a complex spectrum runs whole complex
    transforms; one real inverse transform does the same in less than half the time."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(frames)
        magnitudes = (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()
        ctx.save_for_backward(spectrum, magnitudes)
        return magnitudes

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        spectrum, magnitudes = ctx.saved_tensors
        towards = spectrum * (gradient / magnitudes)
        towards[..., 1:-1] *= 0.5  # an inverse transform counts each of these twice
        return torch.fft.irfft(towards, norm="forward")


def magnitude(samples: Tensor, window: Tensor, hop: int) -> Tensor:
    """samples [B, S], window of even length -> [B, len(window) // 2 + 1, S // hop + 1]"""
    half = len(window) // 2
    padded = F.pad(samples[:, None], (half, half), mode="reflect")[:, 0]
    found: Tensor = _Magnitudes.apply(padded.unfold(1, len(window), hop) * window)  # type: ignore[no-untyped-call]
    return found.transpose(1, 2)


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


class LowHarmonics(nn.Module):
    """Log-magnitude distance below 1 kHz, weighed by magnitude: of the first harmonics, not of what lies between."""

    window: Tensor

    def __init__(self, window: int = 1024, hop: int = 160) -> None:
        super().__init__()
        self.hop, self.bins = hop, window * 1_000 // SAMPLE_RATE_HZ
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    def forward(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """[B, S] -> []"""
        a, b = (magnitude(one, self.window, self.hop)[:, : self.bins] for one in (ours, theirs))
        distance = (torch.log(a.clamp(min=1e-3)) - torch.log(b.clamp(min=1e-3))).abs()
        return (b * distance).sum() / b.sum().clamp(min=1e-3)
