"""The speech language model: text phones under a moving pointer in, one code out.

There is no text prefix: at each 40 ms step the model sees the phones around its pointer, when this phone began and
when it will end, and where the next pause is, all inside a fixed look-ahead. When phones begin and end is planned by
`models.durations`, in hops of 10 ms. So every phone is spoken once and in order, the length needs no end token, and
the input is a function of the text alone. (Relatives: VALL-T, arXiv 2401.14321; FastSpeech, arXiv 1905.09263.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.codec import NUM_CODES
from models.forecast import Forecast

WINDOW = (-2, -1, 0, 1, 2, 3, 4, 5)  # phones around the pointer
LOOK_AHEAD_PHONES = 8  # nothing further is seen, in training and in serving
BEYOND = LOOK_AHEAD_PHONES + 1  # distance to a pause that lies outside the look-ahead
SINCE = (-4, 59)  # hops from the phone's beginning to the step's, cut to these
LEFT = (0, 63)  # hops from the step's beginning to the phone's end
FOLLOWING = (0, 31)  # hops of the phone behind it, 0 behind the last
BEGIN_CODE = NUM_CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class LmConfig:
    voices: int
    num_phone_ids: int
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 1
    hidden: int = 640
    phone_width: int = 48
    dropout: float = 0.1  # in training only

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def packed_width(self) -> int:
        """Queries, keys and values side by side."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


class Attention(nn.Module):
    """Causal attention, `heads` queries over `kv_heads` shared keys, rotary positions (halves rotated)."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.qkv = nn.Linear(config.width, config.packed_width, bias=False)
        self.out = nn.Linear(config.heads * config.head_dim, config.width, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """x [B, T, D], cosine and sine [T, head_dim] -> [B, T, D]"""
        batch, length, _ = x.shape
        packed = self.qkv(x).view(batch, length, self.heads + 2 * self.kv_heads, self.head_dim).transpose(1, 2)
        query, key, value = packed.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        query, key = rotate(query, cosine, sine), rotate(key, cosine, sine)
        mixed = causal(query, key, value)
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, -1))
        return joined


def causal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query [B, heads, T, D], key and value [B, kv_heads, T, D] -> [B, heads, T, D]

    Written out: on a CPU the fused form took a fifth of a step in training for a hundredth of its products.
    """
    (batch, heads, length, width), shared = query.shape, key.shape[1]
    rows = query.reshape(batch, shared, -1, width) * width**-0.5  # of all heads over the same keys
    scores = (rows @ key.transpose(2, 3)).view(batch, shared, -1, length, length)
    later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    weights = scores.masked_fill(later, float("-inf")).softmax(-1)
    return (weights.view(batch, shared, -1, length) @ value).view(batch, heads, length, width)


class Block(nn.Module):
    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=1e-5)
        self.gate_up = nn.Linear(config.width, 2 * config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cosine, sine))
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        result: Tensor = x + self.dropout(self.down(F.silu(gate) * up))
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class LmInputs:
    """All [B, T] unless noted; see the bundle's input adapter `pointer`."""

    code: Tensor  # previous code, BEGIN_CODE at the start
    phones: Tensor  # [B, T, 8] ids around the pointer, 0 outside the segment
    since: Tensor  # all three cut as the constants say and counted from the least
    left: Tensor
    following: Tensor
    to_pause: Tensor  # phones from the pointer to the next pause, BEYOND if further than the look-ahead
    pause_type: Tensor  # that pause's type, 0 if beyond
    speaker: Tensor


FEATURES = ("code", "phones", "since", "left", "following", "to_pause", "pause_type", "speaker")


class SpeechLm(nn.Module):
    """`forecast` is added after training and is trained by itself; training sees the LM alone."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        self.forecast: Forecast | None = None
        self.code = nn.Embedding(NUM_CODES + 1, config.width)
        self.phone = nn.Embedding(config.num_phone_ids, config.phone_width)
        self.phones = nn.Linear(config.phone_width * len(WINDOW), config.width)
        self.since = nn.Embedding(SINCE[1] - SINCE[0] + 1, config.width)
        self.left = nn.Embedding(LEFT[1] - LEFT[0] + 1, config.width)
        self.following = nn.Embedding(FOLLOWING[1] - FOLLOWING[0] + 1, config.width)
        self.to_pause = nn.Embedding(BEYOND + 1, config.width)
        self.pause_type = nn.Embedding(5, config.width)
        self.speaker = nn.Embedding(config.voices, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.to_code = nn.Linear(config.width, NUM_CODES, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)

    def embed(self, inputs: LmInputs) -> Tensor:
        x: Tensor = self.code(inputs.code) + self.phones(self.phone(inputs.phones).flatten(-2))
        x = x + self.since(inputs.since) + self.left(inputs.left) + self.following(inputs.following)
        return x + self.to_pause(inputs.to_pause) + self.pause_type(inputs.pause_type) + self.speaker(inputs.speaker)

    def entered(self, inputs: LmInputs) -> Tensor:
        """What the first block reads [B, T, D], and the forecast too."""
        normed: Tensor = self.blocks[0].attention_norm(self.embed(inputs))
        return normed

    def forward(self, inputs: LmInputs) -> Tensor:
        """A whole segment from its start -> hidden [B, T, D], from which `to_code` reads."""
        x = self.embed(inputs)
        cosine, sine = rotary_table(x.shape[1], self.config.head_dim)
        cosine, sine = torch.cat([cosine, cosine], -1).to(x), torch.cat([sine, sine], -1).to(x)
        for block in self.blocks:
            x = block(x, cosine, sine)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, inputs: LmInputs, hidden: Tensor) -> Tensor:
        """What the served model says, its forecast added: [B, T, V]"""
        own: Tensor = self.to_code(hidden)
        return own if self.forecast is None else own + self.forecast.logits(self.entered(inputs))


@torch.no_grad()
def input_table(network: SpeechLm) -> tuple[Tensor, dict[str, int]]:
    """All that `embed` adds up as rows of one table [R, D], and each feature's first row.

    The window's matrix is multiplied out: a block of phone ids for each of its places.
    """
    mixed = network.phones.weight.view(-1, len(WINDOW), network.config.phone_width)
    blocks = [network.phone.weight @ mixed[:, place].T for place in range(len(WINDOW))]
    blocks[0] = blocks[0] + network.phones.bias
    parts = [torch.cat(blocks) if name == "phones" else getattr(network, name).weight for name in FEATURES]
    offsets, rows = {}, 0
    for name, part in zip(FEATURES, parts, strict=True):
        offsets[name] = rows
        rows += len(part)
    return torch.cat(parts), offsets


def feature_rows(inputs: LmInputs, offsets: dict[str, int], num_phone_ids: int) -> Tensor:
    """-> [B, T, F] rows of `input_table`, the code's first"""
    places = offsets["phones"] + num_phone_ids * torch.arange(len(WINDOW))
    columns = [
        inputs.phones + places if name == "phones" else getattr(inputs, name)[..., None] + offsets[name]
        for name in FEATURES
    ]
    return torch.cat(columns, -1)


def rotary_table(length: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine [length, head_dim / 2], base 10,000 (Su et al., arXiv 2104.09864)."""
    frequency = 1.0 / (10_000.0 ** (torch.arange(0, head_dim, 2).double() / head_dim))
    angle = torch.outer(torch.arange(length).double(), frequency)
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x [B, H, T, D], tables [T, D]"""
    half = x.shape[-1] // 2
    return x * cosine.to(x) + torch.cat([-x[..., half:], x[..., :half]], -1) * sine.to(x)
