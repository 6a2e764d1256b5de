"""The codec: speech to one finite-scalar code per 40 ms and back.

The encoder is non-causal and stays offline. The decoder (the vocoder of the bundle) is causal and pure: it turns
codes into complex spectrum frames; inverse transform and overlap-add follow outside, at any sample rate. The voice
enters in the decoder only, so that codes say what is spoken and the voice says who speaks. In serving it may be a mix
of voices, and the pitch that the decoder chose may be moved. A decoder may see the text too (`models.seen_phones`);
codes then carry what the text does not say.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.excitation import Excitation, overlap_add
from models.framing import BINS, HOP, LOOK_BACK, SAMPLE_RATE_HZ, WINDOW
from models.mel import LogMel
from models.streaming import CausalConvNeXt, ConvNeXt

LEVELS = (8, 8, 8, 8)
NUM_CODES = math.prod(LEVELS)
FRAMES_PER_CODE = 4
SAMPLES_PER_CODE = FRAMES_PER_CODE * HOP
MIN_F0_HZ, MAX_F0_HZ = 50.0, 400.0  # what the decoder has learnt to say
# Of a moved pitch: every window holds a pulse, and no two pulses of the band-limited train touch (16 samples at 1 kHz).
MIN_MOVED_F0_HZ, MAX_MOVED_F0_HZ = SAMPLE_RATE_HZ / WINDOW, 2 * MAX_F0_HZ
CONTEXT = 6  # steps that each causal block looks back


class FiniteScalarQuantiser(nn.Module):
    """FSQ (Mentzer et al., arXiv 2309.15505): each dimension rounds to one of its levels; no codebook to collapse."""

    size: Tensor
    basis: Tensor

    def __init__(self, levels: tuple[int, ...] = LEVELS) -> None:
        super().__init__()
        size = torch.tensor(levels)
        self.register_buffer("size", size, persistent=False)
        basis = torch.cat([torch.ones(1, dtype=torch.long), torch.cumprod(size, 0)[:-1]])
        self.register_buffer("basis", basis, persistent=False)

    def levels(self, z: Tensor) -> Tensor:
        """z [..., 4] -> the same inside the levels' range, before rounding"""
        half = (self.size - 1) * (1 + 1e-3) / 2
        return torch.tanh(z + torch.atanh(0.5 / half)) * half - 0.5

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., 4] -> quantised values in [-1, 1) [..., 4] (straight-through gradient), codes [...]"""
        bounded = self.levels(z)
        rounded = bounded + (torch.round(bounded) - bounded).detach()
        digits = (torch.round(bounded) + self.size // 2).long()
        return rounded / (self.size // 2), (digits * self.basis).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """codes [...] -> quantised values [..., 4]"""
        digits = torch.remainder(torch.div(codes[..., None], self.basis, rounding_mode="floor"), self.size)
        half = self.size // 2
        return (digits - half).float() / half.float()


class Encoder(nn.Module):
    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.mel = LogMel()
        self.enter = nn.Conv1d(82, width, 3, padding=1)
        self.fine = nn.Sequential(*[ConvNeXt(width, 3 * width) for _ in range(2)])
        self.down = nn.Conv1d(width, width, FRAMES_PER_CODE, stride=FRAMES_PER_CODE)
        self.coarse = nn.Sequential(*[ConvNeXt(width, 3 * width, 5) for _ in range(2)])
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, len(LEVELS))
        # Without a fixed scale before the rounding, plain FSQ fell to a single code within 150 steps.
        self.scale = nn.BatchNorm1d(len(LEVELS), affine=False, momentum=0.02)

    def forward(self, samples: Tensor, pitch: Tensor, voiced: Tensor) -> Tensor:
        """samples [B, S], pitch [B, S / HOP] (log F0 in the voice's standard deviations, 0 where unvoiced),
        voiced [B, S / HOP] -> latent [B, S / SAMPLES_PER_CODE, 4]"""
        length = pitch.shape[1] // FRAMES_PER_CODE * FRAMES_PER_CODE
        mel = (self.mel(samples)[..., :length] + 4) / 3
        source = torch.stack([pitch * voiced, voiced], dim=1)[..., :length]
        h = self.fine(self.enter(torch.cat([mel, source], dim=1)).transpose(1, 2))
        h = self.coarse(self.down(h.transpose(1, 2)).transpose(1, 2))
        latent: Tensor = self.scale(self.project(self.norm(h)).transpose(1, 2)).transpose(1, 2)
        return latent


class Decoder(nn.Module):
    """Codes to complex frames. States: one convolution context per block, the phase, the tail of the pulse train."""

    def __init__(self, voices: int, seen_rows: int = 0, coarse_width: int = 256, fine_width: int = 192) -> None:
        """`seen_rows` of the table of what it sees of the text, 0 for a decoder that sees codes alone."""
        super().__init__()
        self.quantiser = FiniteScalarQuantiser()
        self.enter = nn.Linear(len(LEVELS), coarse_width)
        self.voice = nn.Embedding(voices, coarse_width)
        self.seen = nn.Embedding(seen_rows, coarse_width) if seen_rows else None
        self.coarse = nn.ModuleList(CausalConvNeXt(coarse_width, 3 * coarse_width, CONTEXT + 1) for _ in range(6))
        self.up = nn.Linear(coarse_width, fine_width * FRAMES_PER_CODE)
        self.fine = nn.ModuleList(CausalConvNeXt(fine_width, 3 * fine_width, CONTEXT + 1) for _ in range(3))
        self.source = nn.Linear(fine_width, 2)
        self.filters = nn.Linear(fine_width, 2 * BINS)
        self.excitation = Excitation()
        nn.init.normal_(self.filters.weight, 0, 0.01)
        nn.init.constant_(self.filters.bias, -4.0)
        nn.init.constant_(self.source.bias, 0.0)
        if self.seen is not None:  # a decoder trained without starts where it was
            nn.init.zeros_(self.seen.weight)
        with torch.no_grad():
            self.source.bias[0] = math.log(120.0)

    @property
    def coarse_state(self) -> tuple[int, int, int]:
        """Blocks, steps of context, width."""
        return len(self.coarse), CONTEXT, self.enter.out_features

    @property
    def fine_state(self) -> tuple[int, int, int]:
        return len(self.fine), CONTEXT, self.source.in_features

    def parameters_of_speech(
        self, values: Tensor, voice: Tensor, seen: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """values [B, N, 4], voice [B], seen [B, N, K] rows of the table
        -> log F0 [B, 4N], voicing logit [B, 4N], log filters [B, 4N, 2 BINS]"""
        h = self.enter(values) + self.voice(voice)[:, None]
        if self.seen is not None:
            assert seen is not None, "this decoder sees the text"
            h = h + self.seen(seen).sum(2)
        for block in self.coarse:
            h = block.whole(h)
        h = self.up(h).reshape(h.shape[0], h.shape[1] * FRAMES_PER_CODE, -1)
        for block in self.fine:
            h = block.whole(h)
        # Half a semitone lies between neighbours of bfloat16 where log F0 is, so the last layers keep float32.
        with torch.autocast(h.device.type, enabled=False):
            h = h.float()
            source = self.source(h)
            return source[..., 0], source[..., 1], self.filters(h)

    def mixed(self, voices: Tensor) -> Tensor:
        """voices [B, V], weights that sum to 1 in each row -> [B, D]; a weight of 1 gives that voice's own bits.

        Term by term: a sum over an axis may be made in another order for one row than for several.
        """
        terms = [weight * row for weight, row in zip(voices.split(1, dim=1), self.voice.weight, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def frames(
        self, filters: Tensor, f0_hz: Tensor, voiced: Tensor, noise: Tensor, phase: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """filters [B, F, 2 BINS], f0_hz and voiced [B, F], noise [B, LOOK_BACK + F HOP], phase [B],
        tail [B, LOOK_BACK] -> spectrum [B, F, 2, BINS], phase, tail"""
        pulses, phase = self.excitation.pulses(f0_hz, voiced, phase)
        pulses = torch.cat([tail, pulses.flatten(1)], dim=1)
        harmonic, breath = torch.exp(filters.clamp(-14, 4)).split(BINS, dim=-1)
        spectrum = self.excitation.spectra(pulses) * harmonic[:, :, None]
        spectrum = spectrum + self.excitation.spectra(noise) * breath[:, :, None]
        return spectrum, phase, pulses[:, pulses.shape[1] - LOOK_BACK :]

    def forward(
        self,
        codes: Tensor,
        voices: Tensor,
        pitch: Tensor,
        noise: Tensor,
        coarse: Tensor,
        fine: Tensor,
        phase: Tensor,
        tail: Tensor,
        seen: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The serving form, one chunk of N codes.

        codes [B, N], voices [B, V] (weights, see `mixed`), pitch [B] (a ratio to the F0 that the decoder chooses),
        noise [B, LOOK_BACK + N * 640] (the same samples whatever the chunk), coarse [B, 6, 6, 256],
        fine [B, 3, 6, 192], phase [B] int64, tail [B, LOOK_BACK], seen [B, N, K] where the decoder sees the text
        -> spectrum [B, 4N, 2, BINS] and the four new states.
        """
        h = self.enter(self.quantiser.values(codes)) + self.mixed(voices)[:, None]
        if self.seen is not None:
            assert seen is not None, "this decoder sees the text"
            # A product with ones, as in `models.graph.Graph.rows_added_up`: its order is that of a row alone.
            h = h + (torch.ones(1, seen.shape[2]) @ self.seen(seen)).squeeze(2)
        coarse_states, fine_states = [], []
        for index, block in enumerate(self.coarse):
            h, state = block(h, coarse[:, index])
            coarse_states.append(state)
        h = self.up(h).reshape(h.shape[0], h.shape[1] * FRAMES_PER_CODE, -1)
        for index, block in enumerate(self.fine):
            h, state = block(h, fine[:, index])
            fine_states.append(state)
        source = self.source(h)
        chosen_hz = torch.exp(source[..., 0]).clamp(MIN_F0_HZ, MAX_F0_HZ)
        f0_hz = (chosen_hz * pitch[:, None]).clamp(MIN_MOVED_F0_HZ, MAX_MOVED_F0_HZ)
        # Pulses further apart stay as high as they were; of one power they would rise, and some voices would be cut.
        voiced = (source[..., 1] > 0).float() * torch.sqrt(pitch.clamp(max=1.0))[:, None]
        spectrum, phase, tail = self.frames(self.filters(h), f0_hz, voiced, noise, phase, tail)
        return spectrum, torch.stack(coarse_states, 1), torch.stack(fine_states, 1), phase, tail

    def speak(self, values: Tensor, voice: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Whole utterances with the predicted F0.

        values [B, N, 4], seen [B, N, K]
        -> samples [B, LOOK_BACK + N * 640] (see `overlap_add`), log F0 and voicing logit [B, 4N]
        """
        log_f0, voicing, filters = self.parameters_of_speech(values, voice, seen)
        return self.synthesise(filters, torch.exp(log_f0), (voicing > 0).float()), log_f0, voicing

    def synthesise(self, filters: Tensor, f0_hz: Tensor, voiced: Tensor) -> Tensor:
        """filters [B, F, 2 BINS], f0_hz and voiced [B, F] -> samples [B, LOOK_BACK + F * HOP], fresh noise each call"""
        batch, device = filters.shape[0], filters.device
        noise = torch.randn(batch, LOOK_BACK + f0_hz.shape[1] * HOP, device=device)
        phase = torch.zeros(batch, dtype=torch.long, device=device)
        tail = torch.zeros(batch, LOOK_BACK, device=device)
        f0_hz = f0_hz.clamp(MIN_F0_HZ, MAX_F0_HZ)
        spectrum, _, _ = self.frames(filters, f0_hz, voiced, noise, phase, tail)
        return overlap_add(spectrum)


class Codec(nn.Module):
    """Encoder, quantiser and decoder, with each voice's mean and deviation of log F0."""

    def __init__(self, voices: int, seen_rows: int = 0) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(voices, seen_rows)
        self.register_buffer("pitch_mean", torch.full((voices,), math.log(120.0)))
        self.register_buffer("pitch_deviation", torch.ones(voices))

    def encode(self, samples: Tensor, f0_hz: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """samples [B, S], f0_hz [B, S / HOP] (0 = unvoiced), voice [B] -> values [B, N, 4], codes [B, N]"""
        quantised: tuple[Tensor, Tensor] = self.decoder.quantiser(self.latent(samples, f0_hz, voice).float())
        return quantised

    def latent(self, samples: Tensor, f0_hz: Tensor, voice: Tensor) -> Tensor:
        """As `encode`, before the quantiser: [B, N, 4]"""
        voiced = (f0_hz > 0).float()
        log_f0 = torch.log(f0_hz.clamp(min=MIN_F0_HZ))
        pitch = (log_f0 - self.pitch_mean[voice][:, None]) / self.pitch_deviation[voice][:, None]
        latent: Tensor = self.encoder(samples, pitch, voiced)
        return latent
