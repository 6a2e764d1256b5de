"""The causal vocoder of Qwen3-TTS, one frame at a time for a batch: codes [B, Q] -> samples [B, hop].

State is explicit and changed in place: the last inputs of every convolution, the overlapping tail of every transposed
convolution, and a ring of keys and values for the windowed transformer. A captured step advances when replayed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from loadtests.gpu.shapes import VocoderShape

KERNEL = 7
NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Vocoder:
    shape: VocoderShape
    weights: dict[str, Tensor]

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.weights.values())


@dataclass(frozen=True)
class VocoderState:
    tails: dict[str, Tensor]  # per convolution [B, C, (k - 1) dilation], per transposed one [B, C, k - stride]
    keys: Tensor  # [layers, B, heads, window, D]
    values: Tensor
    frame: Tensor  # int64 [1], frames decoded so far

    @property
    def floats_per_row(self) -> int:
        rows = self.keys.shape[1]
        return sum(tail.numel() for tail in (*self.tails.values(), self.keys, self.values)) // rows


def weight_sizes(shape: VocoderShape) -> dict[str, tuple[int, ...]]:
    """Every weight by name; a name with `.tail` would be state, see `tail_sizes`."""
    q, code, latent, width = shape.quantizer_dim, shape.code_dim, shape.latent, shape.width
    inner = shape.heads * shape.head_dim
    sizes: dict[str, tuple[int, ...]] = {
        "codes": (shape.codebooks, shape.codebook_size, code),
        "semantic_out": (q, code),
        "acoustic_out": (q, code),
        "semantic_in": (code, q),  # unused in decoding, but part of the checkpoint
        "acoustic_in": (code, q),
        "pre.w": (latent, q, 3),
        "pre.b": (latent,),
        "narrow": (width, latent),
        "wide": (latent, width),
        "norm": (width,),
    }
    for layer in range(shape.layers):
        name = f"layer{layer}"
        sizes |= {f"{name}.norm1": (width,), f"{name}.norm2": (width,), f"{name}.scale1": (width,)}
        sizes |= {f"{name}.scale2": (width,), f"{name}.qkv": (3 * inner, width), f"{name}.out": (width, inner)}
        sizes |= {f"{name}.gate_up": (2 * shape.intermediate, width), f"{name}.down": (width, shape.intermediate)}
    for stage in range(shape.upsample_stages):
        name = f"up{stage}"
        sizes |= {f"{name}.w": (latent, latent, 2), f"{name}.b": (latent,), f"{name}.deep.w": (latent, 1, KERNEL)}
        sizes |= {f"{name}.deep.b": (latent,), f"{name}.norm.w": (latent,), f"{name}.norm.b": (latent,)}
        sizes |= {f"{name}.grow.w": (4 * latent, latent), f"{name}.grow.b": (4 * latent,)}
        sizes |= {f"{name}.shrink.w": (latent, 4 * latent), f"{name}.shrink.b": (latent,), f"{name}.gamma": (latent,)}
    channels = shape.channels
    sizes |= {"first.w": (channels, latent, KERNEL), "first.b": (channels,)}
    for block, rate in enumerate(shape.rates):
        name = f"block{block}"
        sizes |= {f"{name}.snake": (2, channels, 1), f"{name}.w": (channels, channels // 2, 2 * rate)}
        channels //= 2
        sizes |= {f"{name}.b": (channels,)}
        for unit in range(len(shape.dilations)):
            part = f"{name}.unit{unit}"
            sizes |= {f"{part}.snake1": (2, channels, 1), f"{part}.snake2": (2, channels, 1)}
            sizes |= {f"{part}.w": (channels, channels, KERNEL), f"{part}.b": (channels,)}
            sizes |= {f"{part}.mix.w": (channels, channels, 1), f"{part}.mix.b": (channels,)}
    return sizes | {"snake": (2, channels, 1), "last.w": (1, channels, KERNEL), "last.b": (1,)}


def tail_sizes(shape: VocoderShape) -> dict[str, tuple[int, int]]:
    """(C, length) of what each convolution remembers."""
    sizes = {"pre": (shape.quantizer_dim, 2), "first": (shape.latent, KERNEL - 1)}
    for stage in range(shape.upsample_stages):
        sizes[f"up{stage}.deep"] = (shape.latent, KERNEL - 1)
    channels = shape.channels
    for block, rate in enumerate(shape.rates):
        channels //= 2
        sizes[f"block{block}"] = (channels, rate)
        for unit, dilation in enumerate(shape.dilations):
            sizes[f"block{block}.unit{unit}"] = (channels, (KERNEL - 1) * dilation)
    return sizes | {"last": (channels, KERNEL - 1)}


def random_vocoder(shape: VocoderShape, device: str, dtype: torch.dtype, seed: int = 0) -> Vocoder:
    generator = torch.Generator(device=device).manual_seed(seed)
    weights = {}
    for name, size in weight_sizes(shape).items():
        fan_in = math.prod(size[1:]) if len(size) > 1 and "snake" not in name and name != "codes" else 1
        noise = torch.randn(size, device=device, generator=generator) / math.sqrt(fan_in)
        if "norm" in name and not name.endswith(".b"):
            noise = 1 + 0.1 * noise
        elif "snake" in name or name.endswith(".b"):
            noise = 0.1 * noise
        elif name == "last.w":
            noise = 0.02 * noise  # inside -1..1
        weights[name] = noise.to(dtype)
    return Vocoder(shape, weights)


def new_vocoder_state(shape: VocoderShape, rows: int, device: str, dtype: torch.dtype) -> VocoderState:
    ring = (shape.layers, rows, shape.heads, shape.window, shape.head_dim)
    return VocoderState(
        tails={name: torch.zeros(rows, *size, device=device, dtype=dtype) for name, size in tail_sizes(shape).items()},
        keys=torch.zeros(ring, device=device, dtype=dtype),
        values=torch.zeros(ring, device=device, dtype=dtype),
        frame=torch.zeros(1, dtype=torch.int64, device=device),
    )


def vocode_frame(vocoder: Vocoder, state: VocoderState, codes: Tensor) -> Tensor:
    """codes int64 [B, Q] -> samples [B, hop_length] in -1..1; the state moves on by one frame."""
    shape, w = vocoder.shape, vocoder.weights
    books = torch.arange(shape.codebooks, device=codes.device)
    looked_up = w["codes"][books, codes]  # [B, Q, code_dim]
    x = F.linear(looked_up[:, 0], w["semantic_out"]) + F.linear(looked_up[:, 1:].sum(dim=1), w["acoustic_out"])
    x = _convolve(vocoder, state, "pre", x[:, :, None])
    x = _transform(vocoder, state, x[:, :, 0])[:, :, None]
    for stage in range(shape.upsample_stages):
        x = _upsample(vocoder, state, f"up{stage}", x)
    x = _convolve(vocoder, state, "first", x)
    for block, rate in enumerate(shape.rates):
        name = f"block{block}"
        x = _grow(vocoder, state, name, _snake(x, w[f"{name}.snake"]), rate)
        for unit, dilation in enumerate(shape.dilations):
            part = f"{name}.unit{unit}"
            y = _convolve(vocoder, state, part, _snake(x, w[f"{part}.snake1"]), dilation)
            x = x + F.conv1d(_snake(y, w[f"{part}.snake2"]), w[f"{part}.mix.w"], w[f"{part}.mix.b"])
    x = _convolve(vocoder, state, "last", _snake(x, w["snake"]))
    state.frame.add_(1)
    return x[:, 0].clamp(-1, 1)


def _convolve(
    vocoder: Vocoder, state: VocoderState, name: str, x: Tensor, dilation: int = 1, groups: int = 1
) -> Tensor:
    """Causal convolution of [B, C, S]: what came before stands in for padding."""
    joined = torch.cat([state.tails[name], x], dim=2)
    state.tails[name].copy_(joined[:, :, -state.tails[name].shape[2] :])
    weights = vocoder.weights
    return F.conv1d(joined, weights[f"{name}.w"], weights[f"{name}.b"], dilation=dilation, groups=groups)


def _grow(vocoder: Vocoder, state: VocoderState, name: str, x: Tensor, rate: int) -> Tensor:
    """Transposed convolution of kernel 2 rate, stride rate; the overlap with the next frame waits in the tail."""
    y = F.conv_transpose1d(x, vocoder.weights[f"{name}.w"], None, stride=rate)
    y[:, :, :rate] += state.tails[name]
    state.tails[name].copy_(y[:, :, -rate:])
    return y[:, :, :-rate] + vocoder.weights[f"{name}.b"][None, :, None]


def _upsample(vocoder: Vocoder, state: VocoderState, name: str, x: Tensor) -> Tensor:
    w = vocoder.weights
    x = F.conv_transpose1d(x, w[f"{name}.w"], w[f"{name}.b"], stride=2)
    y = _convolve(vocoder, state, f"{name}.deep", x, groups=x.shape[1]).transpose(1, 2)
    y = F.layer_norm(y, (y.shape[2],), w[f"{name}.norm.w"], w[f"{name}.norm.b"], 1e-6)
    y = F.gelu(F.linear(y, w[f"{name}.grow.w"], w[f"{name}.grow.b"]))
    y = F.linear(y, w[f"{name}.shrink.w"], w[f"{name}.shrink.b"]) * w[f"{name}.gamma"]
    return x + y.transpose(1, 2)


def _snake(x: Tensor, parameters: Tensor) -> Tensor:
    """x + sin(a x)^2 / b, with a and b kept as logarithms."""
    alpha, beta = parameters.exp().unbind(0)
    return x + torch.sin(x * alpha).square() / (beta + 1e-9)


def _transform(vocoder: Vocoder, state: VocoderState, x: Tensor) -> Tensor:
    """x [B, latent] of one frame -> [B, latent]; each layer sees the last `window` frames through its ring."""
    shape, w = vocoder.shape, vocoder.weights
    half = shape.head_dim // 2
    exponent = torch.arange(half, device=x.device) / half
    angle = state.frame * 10_000.0**-exponent
    cosine, sine = angle.cos().to(x.dtype).repeat(2), angle.sin().to(x.dtype)
    sine = torch.cat([-sine, sine])
    slot = state.frame.remainder(shape.window)
    columns = torch.arange(shape.window, device=x.device)
    mask = torch.zeros_like(columns, dtype=x.dtype).masked_fill_(columns > state.frame, -torch.inf)[None, None, None]
    h = F.linear(x, w["narrow"])
    for layer in range(shape.layers):
        name = f"layer{layer}"
        normed = F.rms_norm(h, (shape.width,), w[f"{name}.norm1"], NORM_EPSILON)
        merged = F.linear(normed, w[f"{name}.qkv"]).view(-1, 3, shape.heads, 1, shape.head_dim)
        turned = merged[:, :2] * cosine + merged[:, :2].roll(half, dims=-1) * sine
        state.keys[layer].index_copy_(2, slot, turned[:, 1])
        state.values[layer].index_copy_(2, slot, merged[:, 2])
        seen = F.scaled_dot_product_attention(turned[:, 0], state.keys[layer], state.values[layer], attn_mask=mask)
        h = h + F.linear(seen.flatten(1), w[f"{name}.out"]) * w[f"{name}.scale1"]
        normed = F.rms_norm(h, (shape.width,), w[f"{name}.norm2"], NORM_EPSILON)
        gate, up = F.linear(normed, w[f"{name}.gate_up"]).chunk(2, dim=-1)
        h = h + F.linear(F.silu(gate) * up, w[f"{name}.down"]) * w[f"{name}.scale2"]
    return F.linear(F.rms_norm(h, (shape.width,), w["norm"], NORM_EPSILON), w["wide"])
