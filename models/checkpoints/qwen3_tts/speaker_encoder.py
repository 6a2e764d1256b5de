"""A recording to a speaker embedding: log-mel frames through an ECAPA-TDNN (Desplanques et al. 2020)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoints.qwen3_tts.config import SpeakerEncoderConfig

FFT, HOP = 1024, 256
MAX_HZ = 12000.0


def mel_filters(bands: int, rate_hz: int) -> Tensor:
    """Triangles [bands, FFT / 2 + 1] on Slaney's mel scale, each of area 1."""
    step, knee = 200.0 / 3, 1000.0  # linear to 1 kHz, logarithmic above: 27 bands an octave of 6.4
    log_step = np.log(6.4) / 27

    def mel(hz: float) -> float:
        return hz / step if hz < knee else knee / step + np.log(hz / knee) / log_step

    mels = np.linspace(0.0, mel(MAX_HZ), bands + 2)
    edges = np.where(mels < knee / step, mels * step, knee * np.exp(log_step * (mels - knee / step)))
    bins = np.linspace(0.0, rate_hz / 2, FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(triangles.astype(np.float32))


class LogMel(nn.Module):
    """Samples [B, S] -> [B, frames, bands]. The Fourier transform is a product, so that it exports."""

    def __init__(self, bands: int, rate_hz: int) -> None:
        super().__init__()
        phases = 2 * np.pi * np.outer(np.arange(FFT), np.arange(FFT // 2 + 1)) / FFT
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
        both = np.concatenate([np.cos(phases), -np.sin(phases)], axis=1) * window[:, None]
        self.register_buffer("fourier", torch.from_numpy(both.astype(np.float32)), persistent=False)
        self.register_buffer("filters", mel_filters(bands, rate_hz), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        around = (FFT - HOP) // 2
        padded = F.pad(samples[:, None], (around, around), mode="reflect")[:, 0]
        real, imaginary = (padded.unfold(1, FFT, HOP) @ self.fourier).chunk(2, dim=-1)
        magnitude = torch.sqrt(real.pow(2) + imaginary.pow(2) + 1e-9)
        return torch.log(torch.clamp(magnitude @ self.filters.T, min=1e-5))


class TimeDelay(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, dilation=dilation)
        self.around = dilation * (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(F.pad(x, (self.around, self.around), mode="reflect") if self.around else x))


class Res2Net(nn.Module):
    def __init__(self, channels: int, scale: int, kernel: int, dilation: int) -> None:
        super().__init__()
        part, self.scale = channels // scale, scale
        self.blocks = nn.ModuleList(TimeDelay(part, part, kernel, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = x.chunk(self.scale, dim=1)
        parts = [first]
        for number, (block, part) in enumerate(zip(self.blocks, rest, strict=True)):
            parts.append(block(part + parts[-1] if number else part))
        return torch.cat(parts, dim=1)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(channels, hidden, 1), nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean(2, keepdim=True)))))


class SpeakerBlock(nn.Module):
    def __init__(self, channels: int, out: int, config: SpeakerEncoderConfig, kernel: int, dilation: int) -> None:
        super().__init__()
        self.tdnn1, self.tdnn2 = TimeDelay(channels, out, 1, 1), TimeDelay(out, out, 1, 1)
        self.res2net_block = Res2Net(out, config.enc_res2net_scale, kernel, dilation)
        self.se_block = SqueezeExcitation(out, config.enc_se_channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x))))


class StatisticsPooling(nn.Module):
    """Mean and deviation over time, weighted by attention that knows the plain ones."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.tdnn, self.conv = TimeDelay(3 * channels, hidden, 1, 1), nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = self._statistics(x, torch.full_like(x[:, :1], 1.0) / x.shape[2])
        around = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
        weights = F.softmax(self.conv(torch.tanh(self.tdnn(around))), dim=2)
        return torch.cat(self._statistics(x, weights), dim=1)

    @staticmethod
    def _statistics(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        mean = (weights * x).sum(2, keepdim=True)
        return mean, torch.sqrt((weights * (x - mean).pow(2)).sum(2, keepdim=True).clamp(1e-12))


class SpeakerEncoder(nn.Module):
    def __init__(self, config: SpeakerEncoderConfig) -> None:
        super().__init__()
        self.mel = LogMel(config.mel_dim, config.sample_rate)
        channels, kernels, dilations = config.enc_channels, config.enc_kernel_sizes, config.enc_dilations
        blocks: list[nn.Module] = [TimeDelay(config.mel_dim, channels[0], kernels[0], dilations[0])]
        for number in range(1, len(channels) - 1):
            around = channels[number - 1], channels[number]
            blocks.append(SpeakerBlock(*around, config, kernels[number], dilations[number]))
        self.blocks = nn.ModuleList(blocks)
        self.mfa = TimeDelay(channels[-1], channels[-1], kernels[-1], dilations[-1])
        self.asp = StatisticsPooling(channels[-1], config.enc_attention_channels)
        self.fc = nn.Conv1d(2 * channels[-1], config.enc_dim, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """samples [B, S] at the config's rate, inside +-1 -> [B, enc_dim]"""
        x, outputs = self.mel(samples).transpose(1, 2), []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return self.fc(self.asp(self.mfa(torch.cat(outputs[1:], dim=1))))[:, :, 0]
