"""Tells the teacher's speech from the decoder's by magnitude spectrograms at several resolutions.

Training only, never shipped. Magnitudes are compressed by a power, so that quiet detail counts and silence has no
singular point. The voice is known to it: what is right for one teacher is wrong for another.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESOLUTIONS = ((1024, 256), (512, 128), (256, 64))  # window and hop, samples
COMPRESSION = 0.3
SLOPE = 0.2  # of the activation below zero

Verdict = list[tuple[Tensor, list[Tensor]]]  # for each resolution the scores and what each layer held


class SpectrogramDiscriminator(nn.Module):
    """One resolution: strided convolutions over frequency and time (Jang et al., arXiv 2106.07889)."""

    window: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, window: int, hop: int, voices: int, width: int = 16) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("mean", torch.zeros(window // 2 + 1, 1))
        self.register_buffer("deviation", torch.ones(window // 2 + 1, 1))
        self.enter = nn.Conv2d(1, width, (5, 3), stride=(2, 1), padding=(2, 1))
        self.voice = nn.Embedding(voices, width)
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(width, 2 * width, (5, 3), stride=(2, 1), padding=(2, 1)),
                nn.Conv2d(2 * width, 2 * width, (5, 3), stride=(2, 2), padding=(2, 1)),
                nn.Conv2d(2 * width, 2 * width, (5, 3), stride=(2, 1), padding=(2, 1)),
            ]
        )
        self.leave = nn.Conv2d(2 * width, 1, 3, padding=1)
        for layer in (self.enter, *self.layers):
            nn.init.kaiming_normal_(layer.weight, SLOPE)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.voice.weight, 0, 0.1)

    @torch.no_grad()
    def adapt(self, samples: Tensor) -> None:
        """Takes each bin's mean and deviation from speech [B, S]; without, nothing was told apart in 400 steps."""
        magnitude = self._magnitude(samples)
        self.mean.copy_(magnitude.mean((0, 2))[:, None])
        self.deviation.copy_(magnitude.std((0, 2))[:, None])

    def _magnitude(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(samples, len(self.window), self.hop, window=self.window, return_complex=True)
        return (spectrum.real**2 + spectrum.imag**2 + 1e-8) ** (COMPRESSION / 2)

    def forward(self, samples: Tensor, voice: Tensor) -> tuple[Tensor, list[Tensor]]:
        """samples [B, S], voice [B] -> a score for each patch [B, 1, D, F], what each layer held"""
        magnitude = (self._magnitude(samples) - self.mean) / self.deviation
        h = self.enter(magnitude[:, None]) + self.voice(voice)[:, :, None, None]
        features = [F.leaky_relu(h, SLOPE)]
        for layer in self.layers:
            features.append(F.leaky_relu(layer(features[-1]), SLOPE))
        return self.leave(features[-1]), features


class Discriminator(nn.Module):
    """All resolutions."""

    def __init__(self, voices: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(SpectrogramDiscriminator(*resolution, voices) for resolution in RESOLUTIONS)
        for weight in self.parameters():
            if weight.dim() == 4:  # in this order convolutions take three quarters of the time on a CPU
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def adapt(self, samples: Tensor) -> None:
        for part in self.parts:
            part.adapt(samples)

    def forward(self, samples: Tensor, voice: Tensor) -> Verdict:
        return [part(samples, voice) for part in self.parts]


def discriminator_loss(real: Verdict, fake: Verdict) -> Tensor:
    """Least squares (Mao et al., arXiv 1611.04076): real speech should score 1, ours 0."""
    parts = [((1 - yes.float()) ** 2).mean() + (no.float() ** 2).mean() for (yes, _), (no, _) in zip(real, fake)]
    return torch.stack(parts).sum()


def adversarial_loss(fake: Verdict) -> Tensor:
    return torch.stack([((1 - score.float()) ** 2).mean() for score, _ in fake]).mean()


def feature_loss(real: Verdict, fake: Verdict) -> Tensor:
    """Distance of what the layers hold, each relative to how much it holds of the real speech."""
    parts = []
    for (_, theirs), (_, ours) in zip(real, fake):
        for one, other in zip(theirs, ours):
            parts.append((one.detach().float() - other.float()).abs().mean() / one.detach().float().abs().mean())
    return torch.stack(parts).mean()
