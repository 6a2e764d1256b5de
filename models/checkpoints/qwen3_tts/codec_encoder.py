"""The codec's encoder: a recording to frames of codes, for voices cloned by reference codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.checkpoints.qwen3_tts.blocks import Attention, LayerScale, rotary_table
from models.checkpoints.qwen3_tts.codec_config import EncoderConfig


class StridedConv(nn.Module):
    """Causal; the end is filled up so that the last positions make a whole step."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
        pad_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, stride, dilation=dilation, bias=bias)
        self.stride, self.before, self.pad_mode = stride, (kernel - 1) * dilation + 1 - stride, pad_mode

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.before, -x.shape[2] % self.stride), mode=self.pad_mode))


class ResidualBlock(nn.Module):
    def __init__(self, config: EncoderConfig, channels: int, dilation: int) -> None:
        super().__init__()
        hidden = channels // config.compress
        first = StridedConv(channels, hidden, config.residual_kernel_size, dilation=dilation)
        self.block = nn.ModuleList([nn.ELU(), first, nn.ELU(), StridedConv(hidden, channels, 1)])

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.block:
            y = layer(y)
        return x + y


class Backbone(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        channels = config.num_filters
        layers: list[nn.Module] = [StridedConv(config.audio_channels, channels, config.kernel_size)]
        for rate in reversed(config.upsampling_ratios):
            for number in range(config.num_residual_layers):
                layers.append(ResidualBlock(config, channels, config.dilation_growth_rate**number))
            layers += [nn.ELU(), StridedConv(channels, 2 * channels, 2 * rate, rate)]
            channels *= 2
        layers += [nn.ELU(), StridedConv(channels, config.hidden_size, config.last_kernel_size)]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class EncoderMlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, heads, kv_heads = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.self_attn = Attention(width, heads, kv_heads, config.head_dim, None)
        self.mlp = EncoderMlp(width, config.intermediate_size)
        self.input_layernorm = nn.LayerNorm(width, eps=config.norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(width, eps=config.norm_eps)
        self.self_attn_layer_scale = LayerScale(width, config.layer_scale_initial_scale)
        self.mlp_layer_scale = LayerScale(width, config.layer_scale_initial_scale)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.self_attn_layer_scale(self.self_attn(self.input_layernorm(x), rotation, None)[0])
        return x + self.mlp_layer_scale(self.mlp(self.post_attention_layernorm(x)))


class EncoderTransformer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(EncoderBlock(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, P, width]; each position sees all before it."""
        rotation = rotary_table(torch.arange(x.shape[1]), self.config.head_dim, self.config.rope_theta)
        for layer in self.layers:
            x = layer(x, rotation)
        return x


class EncoderCodebook(nn.Module):
    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("initialized", torch.ones(1))
        self.register_buffer("cluster_usage", torch.ones(size))
        self.register_buffer("embed_sum", torch.zeros(size, width))

    def table(self) -> Tensor:
        return self.embed_sum / self.cluster_usage.clamp(min=1e-5)[:, None]


class ResidualQuantizer(nn.Module):
    def __init__(self, config: EncoderConfig, count: int) -> None:
        super().__init__()
        outer, width = config.hidden_size, config.vector_quantization_hidden_dimension
        same = outer == width
        self.input_proj = nn.Identity() if same else nn.Conv1d(outer, width, 1, bias=False)
        self.output_proj = nn.Identity() if same else nn.Conv1d(width, outer, 1, bias=False)  # encoding needs it not
        self.layers = nn.ModuleList()
        for _ in range(count):
            self.layers.append(nn.ModuleDict({"codebook": EncoderCodebook(config.codebook_size, config.codebook_dim)}))

    def forward(self, x: Tensor, count: int) -> Tensor:
        """x [B, width, P] -> codes [B, P, count]: the nearest entry, then the nearest to what remains."""
        rest, codes = self.input_proj(x).transpose(1, 2), []
        for layer in list(self.layers)[:count]:
            table = layer["codebook"].table()
            # The largest of x.e - e.e/2 is the nearest: |x - e|^2 without what all entries share.
            codes.append((rest @ table.T - table.pow(2).sum(1) / 2).argmax(-1))
            rest = rest - F.embedding(codes[-1], table)
        return torch.stack(codes, dim=-1)


class EncoderQuantizer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.semantic = config.num_semantic_quantizers
        self.semantic_residual_vector_quantizer = ResidualQuantizer(config, self.semantic)
        self.acoustic_residual_vector_quantizer = ResidualQuantizer(config, config.num_quantizers - self.semantic)

    def forward(self, x: Tensor, count: int) -> Tensor:
        first = self.semantic_residual_vector_quantizer(x, self.semantic)
        return torch.cat([first, self.acoustic_residual_vector_quantizer(x, count - self.semantic)], dim=-1)


class CodecEncoder(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Backbone(config)
        self.encoder_transformer = EncoderTransformer(config)
        kernel = 2 * int(config.backbone_rate / config.frame_rate)
        width = config.hidden_size
        self.downsample = StridedConv(width, width, kernel, 2, bias=False, pad_mode="replicate")
        self.quantizer = EncoderQuantizer(config)

    def forward(self, samples: Tensor, count: int) -> Tensor:
        """samples [B, S] -> codes [B, F, count], a frame for each begun 80 ms"""
        x = self.encoder(samples[:, None])
        x = self.encoder_transformer(x.transpose(1, 2)).transpose(1, 2)
        return self.quantizer(self.downsample(x), count)
