"""The measured vocoder has the size of the real one, and frame by frame it says what it says as a whole."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="the measurements need torch")

import torch.nn.functional as F

from loadtests.gpu.shapes import QWEN_VOCODER, TINY_VOCODER
from loadtests.gpu.vocoder import (
    Vocoder,
    new_vocoder_state,
    random_vocoder,
    tail_sizes,
    vocode_frame,
    weight_sizes,
)


def test_the_real_shape_has_the_published_sizes() -> None:
    assert QWEN_VOCODER.hop_length == 1920
    parameters = sum(math.prod(size) for size in weight_sizes(QWEN_VOCODER).values())
    assert parameters == pytest.approx(114.3e6, rel=0.001)
    assert sum(channels * length for channels, length in tail_sizes(QWEN_VOCODER).values()) == 141_472
    state = new_vocoder_state(QWEN_VOCODER, 1, "meta", torch.bfloat16)
    assert state.floats_per_row == 141_472 + 1_179_648


def _whole(vocoder: Vocoder, codes: torch.Tensor) -> torch.Tensor:
    """codes [F, Q] -> samples, over the whole sequence with zeros on its left and a windowed mask."""
    shape, w = vocoder.shape, vocoder.weights
    count = codes.shape[0]

    def convolve(name: str, x: torch.Tensor, dilation: int = 1, groups: int = 1) -> torch.Tensor:
        kernel = w[f"{name}.w"]
        padded = F.pad(x, ((kernel.shape[2] - 1) * dilation, 0))
        return F.conv1d(padded, kernel, w[f"{name}.b"], dilation=dilation, groups=groups)

    def snake(x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        return x + torch.sin(x * parameters[0].exp()) ** 2 / (parameters[1].exp() + 1e-9)

    def norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * weight

    semantic = w["codes"][0, codes[:, 0]] @ w["semantic_out"].T
    acoustic = sum(w["codes"][book, codes[:, book]] for book in range(1, shape.codebooks)) @ w["acoustic_out"].T
    h = convolve("pre", (semantic + acoustic).T[None])[0].T @ w["narrow"].T
    half = shape.head_dim // 2
    angle = torch.arange(count)[:, None] * 10_000.0 ** -(torch.arange(half) / half)
    turn = torch.polar(torch.ones_like(angle), angle)[:, None]
    distance = torch.arange(count)[:, None] - torch.arange(count)[None]
    allowed = (distance >= 0) & (distance < shape.window)
    for layer in range(shape.layers):
        name = f"layer{layer}"
        qkv = (norm(h, w[f"{name}.norm1"]) @ w[f"{name}.qkv"].T).view(count, 3, shape.heads, shape.head_dim)
        turned = torch.complex(qkv[:, :2, :, :half], qkv[:, :2, :, half:]) * turn[:, None]
        query, key = torch.cat([turned.real, turned.imag], dim=-1).unbind(1)
        scores = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(shape.head_dim)
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
        seen = torch.einsum("hqk,khd->qhd", weights, qkv[:, 2]).reshape(count, -1)
        h = h + seen @ w[f"{name}.out"].T * w[f"{name}.scale1"]
        gate, up = (norm(h, w[f"{name}.norm2"]) @ w[f"{name}.gate_up"].T).chunk(2, dim=-1)
        h = h + (F.silu(gate) * up) @ w[f"{name}.down"].T * w[f"{name}.scale2"]
    x = (norm(h, w["norm"]) @ w["wide"].T).T[None]
    for stage in range(shape.upsample_stages):
        name = f"up{stage}"
        x = F.conv_transpose1d(x, w[f"{name}.w"], w[f"{name}.b"], stride=2)
        y = convolve(f"{name}.deep", x, groups=x.shape[1]).transpose(1, 2)
        y = F.layer_norm(y, y.shape[2:], w[f"{name}.norm.w"], w[f"{name}.norm.b"], 1e-6)
        y = F.gelu(y @ w[f"{name}.grow.w"].T + w[f"{name}.grow.b"]) @ w[f"{name}.shrink.w"].T + w[f"{name}.shrink.b"]
        x = x + (y * w[f"{name}.gamma"]).transpose(1, 2)
    x = convolve("first", x)
    for block, rate in enumerate(shape.rates):
        name = f"block{block}"
        x = F.conv_transpose1d(snake(x, w[f"{name}.snake"]), w[f"{name}.w"], w[f"{name}.b"], stride=rate)
        x = x[:, :, :-rate]
        for unit, dilation in enumerate(shape.dilations):
            part = f"{name}.unit{unit}"
            y = snake(convolve(part, snake(x, w[f"{part}.snake1"]), dilation), w[f"{part}.snake2"])
            x = x + convolve(f"{part}.mix", y)
    return convolve("last", snake(x, w["snake"]))[0, 0].clamp(-1, 1)


def test_frame_by_frame_equals_whole() -> None:
    vocoder = random_vocoder(TINY_VOCODER, "cpu", torch.float64)
    rows, frames = 3, 3 * TINY_VOCODER.window  # several times around the ring
    generator = torch.Generator().manual_seed(5)
    codes = torch.randint(0, TINY_VOCODER.codebook_size, (rows, frames, TINY_VOCODER.codebooks), generator=generator)
    state = new_vocoder_state(TINY_VOCODER, rows, "cpu", torch.float64)
    parts = [vocode_frame(vocoder, state, codes[:, frame]) for frame in range(frames)]
    streamed = torch.cat(parts, dim=1)
    assert streamed.shape == (rows, frames * TINY_VOCODER.hop_length)
    for row in range(rows):
        torch.testing.assert_close(streamed[row], _whole(vocoder, codes[row]), atol=1e-6, rtol=0)
    assert streamed.std() > 0.01
    assert streamed.abs().lt(1).double().mean() > 0.3  # the clamp hides no difference
