"""The codec's decoder: frames of codes to samples. Causal, so all of it streams with a fixed state by the layer.

Every module maps (x, state) -> (y, state): x [B, C, P], the state what it must remember of the positions before (None
is silence). One call over all frames and many calls over pieces are the same function.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoints.qwen3_tts.blocks import Attention, Block, Mlp, RmsNorm, run_blocks
from models.checkpoints.qwen3_tts.codec_config import DecoderConfig

State = Any  # a tensor, or what a module's parts remember


class CausalConv(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, dilation=dilation, groups=groups)
        self.tail = (kernel - 1) * dilation

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = torch.cat([x.new_zeros(*x.shape[:2], self.tail) if state is None else state, x], dim=2)
        return self.conv(x), x[..., x.shape[2] - self.tail :]


class CausalTransposedConv(nn.Module):
    """Kernel `rate` or twice it: a position's samples are made of itself and, with the longer, of the one before."""

    def __init__(self, channels: int, out: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, out, kernel, stride=rate)
        self.rate, self.tail = rate, kernel // rate - 1

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        count = x.shape[2] * self.rate
        x = torch.cat([x.new_zeros(*x.shape[:2], self.tail) if state is None else state, x], dim=2)
        skipped = self.tail * self.rate
        return self.conv(x)[..., skipped : skipped + count], x[..., x.shape[2] - self.tail :]


class ConvNext(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.dwconv(x, state)
        y = self.pwconv2(F.gelu(self.pwconv1(self.norm(y.transpose(1, 2)))))
        return x + (self.gamma * y).transpose(1, 2), state


class SnakeBeta(nn.Module):
    """x + sin^2(a x) / b with a and b stored as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        alpha, beta = self.alpha.exp()[:, None], self.beta.exp()[:, None]
        return x + torch.sin(x * alpha).pow(2) / (beta + 1e-9), state


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.act1, self.conv1 = SnakeBeta(channels), CausalConv(channels, channels, 7, dilation)
        self.act2, self.conv2 = SnakeBeta(channels), CausalConv(channels, channels, 1)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, state = self.conv1(self.act1(x, None)[0], state)
        return x + self.conv2(self.act2(y, None)[0], None)[0], state


class Chain(nn.ModuleList):
    """Modules one after the other, each with its own state."""

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        states = []
        for module, before in zip(self, state or [None] * len(self), strict=True):
            x, after = module(x, before)
            states.append(after)
        return x, states


class UpsamplingBlock(nn.Module):
    def __init__(self, channels: int, rate: int) -> None:
        super().__init__()
        out = channels // 2
        up = CausalTransposedConv(channels, out, 2 * rate, rate)
        self.block = Chain([SnakeBeta(channels), up, *(ResidualUnit(out, dilation) for dilation in (1, 3, 9))])

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.block.run(x, state)


class Codebook(nn.Module):
    """Sums of the vectors that fell to an entry, and how many did."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.cluster_usage, self.embedding_sum = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size, width))

    def table(self) -> Tensor:
        return self.embedding_sum / self.cluster_usage.clamp(min=1e-5)[:, None]


class Quantizer(nn.Module):
    def __init__(self, config: DecoderConfig, count: int) -> None:
        super().__init__()
        width = config.codebook_dim // 2
        self.input_proj = nn.Conv1d(config.codebook_dim, width, 1, bias=False)  # in the files; decoding needs it not
        self.output_proj = nn.Conv1d(width, config.codebook_dim, 1, bias=False)
        books = [nn.ModuleDict({"_codebook": Codebook(config.codebook_size, width)}) for _ in range(count)]
        self.vq = nn.ModuleDict({"layers": nn.ModuleList(books)})

    def forward(self, codes: Tensor) -> Tensor:
        """codes [B, P, K] -> [B, codebook_dim, P]"""
        books: Any = self.vq["layers"]
        rows = [F.embedding(codes[..., k], book["_codebook"].table()) for k, book in enumerate(books)]
        return self.output_proj(torch.stack(rows).sum(0).transpose(1, 2))


class SplitQuantizer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.rvq_first, self.rvq_rest = Quantizer(config, 1), Quantizer(config, config.num_quantizers - 1)

    def forward(self, codes: Tensor) -> Tensor:
        return self.rvq_first(codes[..., :1]) + self.rvq_rest(codes[..., 1:])


class PreTransformer(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width, eps = config.hidden_size, config.rms_norm_eps

        def layer() -> Block:
            attention = Attention(width, config.num_attention_heads, config.num_key_value_heads, config.head_dim, None)
            return Block(attention, Mlp(width, config.intermediate_size), width, eps, config.layer_scale_initial_scale)

        self.layers = nn.ModuleList(layer() for _ in range(config.num_hidden_layers))
        self.norm = RmsNorm(width, eps)
        self.input_proj = nn.Linear(config.latent_dim, width)
        self.output_proj = nn.Linear(width, config.latent_dim)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x [B, C, P]. The state keeps more than the window: positions are counted by it."""
        config, x = self.config, self.input_proj(x.transpose(1, 2))
        x, state = run_blocks(self.layers, x, config.head_dim, config.rope_theta, state, config.sliding_window)
        return self.output_proj(self.norm(x)).transpose(1, 2), state


class CodecDecoder(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        latent, width = config.latent_dim, config.decoder_dim
        self.quantizer = SplitQuantizer(config)
        self.pre_conv = CausalConv(config.codebook_dim, latent, 3)
        self.pre_transformer = PreTransformer(config)
        self.upsample = nn.ModuleList(
            Chain([CausalTransposedConv(latent, latent, rate, rate), ConvNext(latent)])
            for rate in config.upsampling_ratios
        )
        blocks = [UpsamplingBlock(width >> number, rate) for number, rate in enumerate(config.upsample_rates)]
        out = width >> len(config.upsample_rates)
        self.decoder = Chain([CausalConv(latent, width, 7), *blocks, SnakeBeta(out), CausalConv(out, 1, 7)])

    def forward(self, codes: Tensor, state: State = None) -> tuple[Tensor, State]:
        """codes [B, F, Q] -> samples [B, F * hop_length], state"""
        before = state or [None] * (3 + len(self.upsample))
        x, first = self.pre_conv(self.quantizer(codes), before[0])
        x, second = self.pre_transformer(x, before[1])
        states = [first, second]
        for chain, own in zip(self.upsample, before[2:-1], strict=True):
            x, after = chain.run(x, own)
            states.append(after)
        x, last = self.decoder.run(x, before[-1])
        return x[:, 0].clamp(-1, 1), [*states, last]
