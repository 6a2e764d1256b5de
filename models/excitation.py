"""The two sources of the vocoder, a band-limited pulse train and noise, and the frames they are filtered in.

Every value is reached by integer arithmetic, division, square root and table look-up, all of which give the same bits
in any chunk and any batch; sine and logarithm do not. Phase is an integer number of 2^-32 turns, so it never drifts.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from models.framing import BINS, HOP, LOOK_BACK, SAMPLE_RATE_HZ, TURN, WINDOW

_TAPS = 8  # half width of the pulse, samples
_RESOLUTION = 64  # table entries per sample
_CUTOFF = 0.94  # of the Nyquist frequency


def window() -> np.ndarray:
    """Periodic Hann, float64 [WINDOW]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


class Excitation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        offset = np.arange(-_TAPS * _RESOLUTION, _TAPS * _RESOLUTION + 1) / _RESOLUTION
        shape = np.i0(9.0 * np.sqrt(1 - (offset / _TAPS) ** 2)) / np.i0(9.0)
        pulse = _CUTOFF * np.sinc(_CUTOFF * offset) * shape
        pulse[0] = pulse[-1] = 0.0
        self.register_buffer("pulse", torch.tensor(pulse, dtype=torch.float32), persistent=False)
        angle = 2 * np.pi * np.outer(np.arange(WINDOW), np.arange(BINS)) / WINDOW
        analysis = np.concatenate([np.cos(angle), -np.sin(angle)], axis=1) * window()[:, None]
        self.register_buffer("analysis", torch.tensor(analysis, dtype=torch.float32), persistent=False)
        self.register_buffer("steps", torch.arange(1, HOP + 1), persistent=False)

    def pulses(self, f0_hz: Tensor, voiced: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
        """One pulse per turn of the phase, unit power while voiced.

        f0_hz [B, F], voiced [B, F] (0 or 1, between them quieter), phase [B] int64 in [0, 2^32)
        -> samples [B, F, HOP], phase [B]
        """
        increment = torch.round(f0_hz * (TURN / SAMPLE_RATE_HZ)).long()
        after = torch.cumsum(increment * HOP, dim=1)
        before = after - increment * HOP + phase[:, None]
        turns = before[..., None] + increment[..., None] * self.steps
        centred = torch.remainder(turns + TURN // 2, TURN) - TURN // 2
        distance = centred.float() / increment[..., None].float()
        # Between entries the table is read along a straight line, so that a last-bit difference in F0 stays one.
        place = ((distance + _TAPS) * _RESOLUTION).clamp(0, 2 * _TAPS * _RESOLUTION)
        entry = torch.floor(place).clamp(max=2 * _TAPS * _RESOLUTION - 1).long()
        below, above = self.pulse[entry], self.pulse[entry + 1]
        shape = below + (place - entry.float()) * (above - below)
        gain = torch.sqrt(SAMPLE_RATE_HZ / f0_hz) * voiced
        return shape * gain[..., None], torch.remainder(phase + after[:, -1], TURN)

    def spectra(self, samples: Tensor) -> Tensor:
        """Windowed spectra, one per hop. samples [B, LOOK_BACK + F * HOP] -> [B, F, 2, BINS] (real, imaginary)."""
        batch, length = samples.shape[0], (samples.shape[1] - LOOK_BACK) // HOP
        # A window is 3.2 hops long: pad to a fourth hop, so that frames are shifted views of whole hops.
        spare = torch.nn.functional.pad(samples, (0, 4 * HOP - WINDOW)).reshape(batch, length + 3, HOP)
        hops = [spare[:, shift : shift - 3 if shift < 3 else None] for shift in range(4)]
        frames = torch.cat(hops, dim=2)[:, :, :WINDOW]
        return (frames @ self.analysis).reshape(batch, length, 2, BINS)


def overlap_add(spectrum: Tensor) -> Tensor:
    """Complex frames to samples; training only, serving does the same in numpy row by row.

    spectrum [B, F, 2, BINS] -> samples [B, F * HOP + LOOK_BACK], sample 0 at time -LOOK_BACK.
    """
    frames = torch.fft.irfft(torch.complex(spectrum[:, :, 0], spectrum[:, :, 1]), WINDOW)
    frames = frames * torch.tensor(synthesis_window(WINDOW, HOP), dtype=frames.dtype, device=frames.device)
    length = (frames.shape[1] - 1) * HOP + WINDOW
    return torch.nn.functional.fold(frames.transpose(1, 2), (1, length), (1, WINDOW), stride=(1, HOP))[:, 0, 0]


def synthesis_window(size: int, hop: int) -> np.ndarray:
    """Hann window divided by the overlapped squared sum, so that analysis and synthesis give back the input."""
    hann = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(size) / size)
    total = np.zeros(hop)
    for start in range(0, size, hop):
        part = hann[start : start + hop] ** 2
        total[: len(part)] += part
    return np.asarray(hann / np.resize(total, size))
