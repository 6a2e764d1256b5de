"""Codes of speech that is never made: what the codec's encoder would hear, of what the vocoder is told.

Nine tenths of Kokoro's time go into its vocoder, and all that the sound holds is known before it. A network learns on
speech that exists to say of these inner states what the encoder says of the sound; then text becomes codes at a
fifteenth of the cost of speech. The codec itself learns from sound alone, and so do the figures that judge it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.code_files import OtherEncoderError
from models.codec import FRAMES_PER_CODE, LEVELS, MIN_F0_HZ, FiniteScalarQuantiser
from models.framing import HOP, SAMPLE_RATE_HZ
from models.streaming import ConvNeXt
from models.teachers.kokoro.prepare import pitch
from models.teachers.kokoro.speaker import PROSODY_RATE_HZ, Unspoken

STATES = 512
_BESIDE = 3  # log F0, whether voiced, energy
WIDTH = STATES + _BESIDE


def heard(thought: Unspoken, start: int, hops: int) -> NDArray[np.float32]:
    """What the listener takes in of `hops` hops from sample `start` at 16 kHz on: [hops, WIDTH]."""
    middle_s = (start + HOP * (np.arange(hops) + 0.5)) / SAMPLE_RATE_HZ
    place = np.clip(middle_s * PROSODY_RATE_HZ, 0, len(thought.energy) - 1)
    below = np.floor(place).astype(int)
    above, share = np.minimum(below + 1, len(thought.energy) - 1), (place - below)[:, None]
    known = np.concatenate([thought.states, thought.energy[:, None]], axis=1)
    between = known[below] + share * (known[above] - known[below])
    f0_hz = pitch(thought.f0_hz, start, hops)
    log_f0 = np.log(np.maximum(f0_hz, MIN_F0_HZ) / MIN_F0_HZ)
    return np.column_stack([between, log_f0, f0_hz > 0]).astype(np.float32)


class Listener(nn.Module):
    """As `models.codec.Encoder`, with inner states in place of a spectrogram."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("deviation", torch.ones(WIDTH))
        self.enter = nn.Linear(WIDTH, width)
        self.fine = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(2)])
        self.down = nn.Conv1d(width, width, FRAMES_PER_CODE, stride=FRAMES_PER_CODE)
        self.coarse = nn.Sequential(*[ConvNeXt(width, 3 * width, 5) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, len(LEVELS))

    def adapt(self, seen: Tensor) -> None:
        """To the mean and deviation of inputs [N, WIDTH]."""
        self.mean.copy_(seen.mean(0))
        self.deviation.copy_(seen.std(0).clamp(min=1e-3))

    def forward(self, seen: Tensor) -> Tensor:
        """seen [B, 4 N, WIDTH] -> levels as the quantiser has them before it rounds [B, N, 4]"""
        h = self.fine(self.enter((seen - self.mean) / self.deviation))
        h = self.coarse(self.down(h.transpose(1, 2)).transpose(1, 2))
        levels: Tensor = self.project(self.norm(h))
        return levels

    @torch.no_grad()
    def codes(self, seen: NDArray[np.float32]) -> NDArray[np.int64]:
        """seen [4 N, WIDTH] -> [N]"""
        levels, size = self(torch.from_numpy(seen)[None])[0], torch.tensor(LEVELS)
        digits = (torch.round(levels).long() + size // 2).clamp(torch.zeros_like(size), size - 1)
        found: NDArray[np.int64] = (digits * FiniteScalarQuantiser().basis).sum(-1).numpy()
        return found


def load_listener(path: Path) -> tuple[Listener, str]:
    """With the hash of the encoder that it learned from."""
    listener, saved = Listener(), torch.load(path, weights_only=False)
    if "encoder_sha256" not in saved:
        raise OtherEncoderError(f"{path} does not name its encoder; delete it and train it again")
    listener.load_state_dict(saved["network"])
    return listener.eval(), saved["encoder_sha256"]


def agreement(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """Levels [..., 4] of both -> how far they are apart, and the shares of equal digits and codes."""
    equal = torch.round(ours) == torch.round(theirs)
    near = (torch.round(ours) - torch.round(theirs)).abs() <= 1
    return {
        "levels": float((ours - theirs).abs().mean()),
        "equal_digits": float(equal.float().mean()),
        "equal_codes": float(equal.all(-1).float().mean()),
        "within_one_level": float(near.all(-1).float().mean()),
    }
