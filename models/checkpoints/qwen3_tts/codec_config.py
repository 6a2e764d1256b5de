"""The numbers of `speech_tokenizer/config.json`: the codec's encoder and decoder, every field known."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import field

from models.checkpoints.qwen3_tts.config import Fields, Positive


class DecoderConfig(Fields, frozen=True, kw_only=True):
    """Codes to samples: RVQ, a causal transformer with a window, causal convolutions."""

    codebook_dim: Positive
    codebook_size: Positive
    latent_dim: Positive
    decoder_dim: Positive
    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    num_quantizers: Positive
    sliding_window: Positive
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: Positive
    upsample_rates: tuple[Positive, ...]
    upsampling_ratios: tuple[Positive, ...]
    layer_scale_initial_scale: float = 0.01
    hidden_act: Literal["silu"] = "silu"
    attention_bias: Literal[False] = False
    num_semantic_quantizers: Literal[1] = 1
    semantic_codebook_size: int | None = None  # no tensor has this size
    vector_quantization_hidden_dimension: int | None = None  # nor this one
    model_type: str | None = None

    @property
    def hop_length(self) -> int:
        return math.prod(self.upsample_rates) * math.prod(self.upsampling_ratios)


class EncoderConfig(Fields, frozen=True, kw_only=True):
    """Samples to codes: the encoder half of a Mimi."""

    hidden_size: Positive
    num_filters: Positive
    upsampling_ratios: tuple[Positive, ...]
    kernel_size: Positive
    last_kernel_size: Positive
    residual_kernel_size: Positive
    num_residual_layers: Positive
    dilation_growth_rate: Positive
    compress: Positive
    codebook_size: Positive
    codebook_dim: Positive
    num_quantizers: Positive
    num_semantic_quantizers: Positive
    vector_quantization_hidden_dimension: Positive
    num_hidden_layers: Positive
    intermediate_size: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    norm_eps: float
    rope_theta: float
    frame_rate: float = field(name="_frame_rate", default=12.5)
    sampling_rate: Positive = 24000
    max_position_embeddings: Positive = 8000
    layer_scale_initial_scale: float = 0.01
    hidden_act: Literal["gelu"] = "gelu"
    pad_mode: Literal["constant"] = "constant"
    audio_channels: Literal[1] = 1
    attention_bias: Literal[False] = False
    use_causal_conv: Literal[True] = True
    use_conv_shortcut: Literal[False] = False
    use_streaming: bool = False
    normalize: bool = False
    sliding_window: int | None = None  # the reference encodes with all of the past
    trim_right_ratio: float = 1.0  # of the other half
    upsample_groups: int | None = None
    model_type: str | None = None

    @property
    def backbone_rate(self) -> int:
        """Frames a second before the last downsampling."""
        return math.ceil(self.sampling_rate / math.prod(self.upsampling_ratios))


class CodecConfig(Fields, frozen=True, kw_only=True):
    model_type: Literal["qwen3_tts_tokenizer_12hz"]
    encoder_config: EncoderConfig
    decoder_config: DecoderConfig
    encoder_valid_num_quantizers: Positive
    input_sample_rate: Positive
    output_sample_rate: Positive
    decode_upsample_rate: Positive
    encode_downsample_rate: Positive

    def __post_init__(self) -> None:
        hop = self.decoder_config.hop_length
        if hop != self.decode_upsample_rate:
            raise ValueError(
                f"the decoder's rates make {hop} samples a frame, decode_upsample_rate says {self.decode_upsample_rate}"
            )
        if self.encoder_valid_num_quantizers != self.decoder_config.num_quantizers:
            raise ValueError(
                f"encoder_valid_num_quantizers {self.encoder_valid_num_quantizers} must be the decoder's "
                f"num_quantizers {self.decoder_config.num_quantizers}"
            )
        if self.input_sample_rate != self.output_sample_rate:
            raise ValueError(
                f"input_sample_rate {self.input_sample_rate} must be output_sample_rate {self.output_sample_rate}"
            )
