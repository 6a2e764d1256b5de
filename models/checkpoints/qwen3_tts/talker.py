"""The talker, which speaks code 0 of a frame, and the code predictor, which speaks the rest of it.

What they compute is the reference implementation's (`qwen-tts`); tests/reference holds them together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoints.qwen3_tts.blocks import Attention, Block, Cache, Mlp, RmsNorm, run_blocks
from models.checkpoints.qwen3_tts.config import Blocks, PredictorConfig, TalkerConfig


def _layers(config: Blocks) -> nn.ModuleList:
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width, eps = config.hidden_size, config.rms_norm_eps
    return nn.ModuleList(
        Block(Attention(width, heads, kv_heads, config.head_dim, eps), Mlp(width, config.intermediate_size), width, eps)
        for _ in range(config.num_hidden_layers)
    )


class PredictorModel(nn.Module):
    def __init__(self, config: PredictorConfig, embedding_width: int) -> None:
        super().__init__()
        self.config = config
        self.layers = _layers(config)
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.codec_embedding = nn.ModuleList(
            nn.Embedding(config.vocab_size, embedding_width) for _ in range(config.num_code_groups - 1)
        )


class CodePredictor(nn.Module):
    def __init__(self, config: PredictorConfig, talker_width: int) -> None:
        super().__init__()
        self.config = config
        self.model = PredictorModel(config, talker_width)
        self.lm_head = nn.ModuleList(
            nn.Linear(config.hidden_size, config.vocab_size, bias=False) for _ in range(config.num_code_groups - 1)
        )
        same = config.hidden_size == talker_width
        self.small_to_mtp_projection = nn.Identity() if same else nn.Linear(talker_width, config.hidden_size)

    def step(self, x: Tensor, head: int, past: Cache | None) -> tuple[Tensor, Cache]:
        """x [B, S, talker width] -> logits [B, V] of code `head` + 1 behind the last of them."""
        config = self.config
        x, past = run_blocks(
            self.model.layers, self.small_to_mtp_projection(x), config.head_dim, config.rope_theta, past
        )
        return self.lm_head[head](self.model.norm(x[:, -1])), past

    def greedy(self, hidden: Tensor, first_embedding: Tensor) -> Tensor:
        """hidden, first_embedding [B, talker width] -> codes 1.. [B, Q - 1]"""
        return self.greedy_logits(hidden, first_embedding).argmax(-1)

    def greedy_logits(self, hidden: Tensor, first_embedding: Tensor) -> Tensor:
        """hidden, first_embedding [B, talker width] -> logits of codes 1.. [B, Q - 1, V], each behind the likeliest"""
        every, x = [], torch.stack([hidden, first_embedding], dim=1)
        past: Cache | None = None
        for head in range(self.config.num_code_groups - 1):
            logits, past = self.step(x, head, past)
            every.append(logits)
            x = self.model.codec_embedding[head](logits.argmax(-1))[:, None]
        return torch.stack(every, dim=1)


class TextProjection(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(width, width)
        self.linear_fc2 = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_fc2(F.silu(self.linear_fc1(x)))


class TalkerModel(nn.Module):
    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = _layers(config)
        self.norm = RmsNorm(config.hidden_size, config.rms_norm_eps)
        self.codec_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.text_embedding = nn.Embedding(config.text_vocab_size, config.text_hidden_size)


class Talker(nn.Module):
    def __init__(self, config: TalkerConfig) -> None:
        super().__init__()
        self.config = config
        self.model = TalkerModel(config)
        self.text_projection = TextProjection(config.text_hidden_size, config.hidden_size)
        self.codec_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.code_predictor = CodePredictor(config.code_predictor_config, config.hidden_size)

    def text(self, ids: Tensor) -> Tensor:
        return self.text_projection(self.model.text_embedding(ids))

    def frame_embedding(self, codes: Tensor) -> Tensor:
        """codes [..., Q] -> [..., width]: the sum over the codebooks."""
        tables = self.code_predictor.model.codec_embedding
        rest = [table(codes[..., number + 1]) for number, table in enumerate(tables)]
        return torch.stack([self.model.codec_embedding(codes[..., 0]), *rest], dim=-2).sum(-2)

    def forward(self, x: Tensor, past: Cache | None = None) -> tuple[Tensor, Tensor, Cache]:
        """x [B, S, width] -> hidden [B, S, width], logits of code 0 [B, S, V], cache"""
        config = self.config
        x, past = run_blocks(self.model.layers, x, config.head_dim, config.rope_theta, past)
        hidden = self.model.norm(x)
        return hidden, self.codec_head(hidden), past
