"""The numbers of a Qwen3-TTS checkpoint: `config.json` and `generation_config.json`, every field known.

Fields that would change what our networks compute are accepted only with the value that they implement. Where the
published files leave a field out, the default of the reference implementation stands here.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Id = Annotated[int, Meta(ge=0)]


class Fields(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every field is known; those without a default must be given."""


class Kind(Enum):
    BASE = "base"  # clones a voice from a recording
    CUSTOM_VOICE = "custom_voice"  # named speakers
    VOICE_DESIGN = "voice_design"  # a voice described in words


class RopeScaling(Fields, frozen=True, kw_only=True):
    """Three equal rows of positions: multimodal rotation of a text-only sequence is the ordinary one."""

    mrope_section: tuple[Positive, Positive, Positive]
    interleaved: Literal[True]
    rope_type: Literal["default"] = "default"
    type: Literal["default"] = "default"


class Blocks(Fields, frozen=True, kw_only=True):
    """Qwen3 blocks: RMS norms, grouped-query attention with normed queries and keys, SiLU-gated MLP."""

    hidden_size: Positive
    intermediate_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    head_dim: Positive
    rms_norm_eps: float
    rope_theta: float
    max_position_embeddings: Positive
    vocab_size: Positive
    hidden_act: Literal["silu"] = "silu"
    attention_bias: Literal[False] = False
    use_sliding_window: Literal[False] = False
    sliding_window: int | None = None  # unused, as use_sliding_window says
    max_window_layers: int | None = None
    layer_types: tuple[Literal["full_attention"], ...] | None = None
    tie_word_embeddings: Literal[False] = False
    num_code_groups: Positive

    def __post_init__(self) -> None:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of num_key_value_heads "
                f"{self.num_key_value_heads}"
            )


class PredictorConfig(Blocks, frozen=True, kw_only=True):
    """Codes 1 to 15 of a frame, one after the other."""

    model_type: Literal["qwen3_tts_talker_code_predictor"] = "qwen3_tts_talker_code_predictor"
    rope_scaling: None = None


class TalkerConfig(Blocks, frozen=True, kw_only=True):
    """Code 0 of each frame."""

    code_predictor_config: PredictorConfig
    rope_scaling: RopeScaling
    text_hidden_size: Positive
    text_vocab_size: Positive
    codec_pad_id: Id
    codec_bos_id: Id
    codec_eos_token_id: Id
    codec_think_id: Id
    codec_nothink_id: Id
    codec_think_bos_id: Id
    codec_think_eos_id: Id
    codec_language_id: dict[str, Id]
    spk_id: dict[str, Id] = {}  # msgspec copies defaults
    spk_is_dialect: dict[str, Literal[False] | str] = {}
    position_id_per_seconds: int | None = None  # of the model family; speech alone has no use for it
    model_type: Literal["qwen3_tts_talker"] = "qwen3_tts_talker"

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(self.rope_scaling.mrope_section) != self.head_dim // 2:
            raise ValueError(
                f"mrope_section {list(self.rope_scaling.mrope_section)} must add up to half of head_dim {self.head_dim}"
            )
        predictor = self.code_predictor_config
        if predictor.num_code_groups != self.num_code_groups:
            raise ValueError(
                f"num_code_groups is {self.num_code_groups} here and {predictor.num_code_groups} in the code predictor"
            )
        control = [name for name in self.__struct_fields__ if name.startswith("codec_") and name.endswith("_id")]
        ids = [(name, getattr(self, name)) for name in control if name != "codec_language_id"]
        ids += [*self.codec_language_id.items(), *self.spk_id.items()]
        for name, value in ids:
            if value >= self.vocab_size:
                raise ValueError(f"id {value} of {name} is beyond vocab_size {self.vocab_size}")
        for speaker, dialect in self.spk_is_dialect.items():
            if dialect is not False and dialect not in self.codec_language_id:
                raise ValueError(f"dialect {dialect!r} of speaker {speaker} is not in codec_language_id")

    @property
    def codes(self) -> int:
        """Codes that a first codebook may give: ids above are control, language and speaker ids."""
        return self.vocab_size - 1024


class SpeakerEncoderConfig(Fields, frozen=True, kw_only=True):
    """ECAPA-TDNN over mel frames."""

    mel_dim: Positive = 128
    enc_dim: Positive = 1024
    enc_channels: tuple[Positive, ...] = (512, 512, 512, 512, 1536)
    enc_kernel_sizes: tuple[Positive, ...] = (5, 3, 3, 3, 1)
    enc_dilations: tuple[Positive, ...] = (1, 2, 3, 4, 1)
    enc_attention_channels: Positive = 128
    enc_res2net_scale: Positive = 8
    enc_se_channels: Positive = 128
    sample_rate: Literal[24000] = 24000
    model_type: str | None = None

    def __post_init__(self) -> None:
        if not len(self.enc_channels) == len(self.enc_kernel_sizes) == len(self.enc_dilations) >= 3:
            raise ValueError("enc_channels, enc_kernel_sizes and enc_dilations must be equally long, at least 3")


class ModelConfig(Fields, frozen=True, kw_only=True):
    model_type: Literal["qwen3_tts"]
    tokenizer_type: Literal["qwen3_tts_tokenizer_12hz"]
    tts_model_size: str
    tts_model_type: Kind
    talker_config: TalkerConfig
    speaker_encoder_config: SpeakerEncoderConfig = SpeakerEncoderConfig()
    im_start_token_id: Id
    im_end_token_id: Id
    tts_pad_token_id: Id
    tts_bos_token_id: Id
    tts_eos_token_id: Id
    assistant_token_id: Id | None = None

    def __post_init__(self) -> None:
        talker = self.talker_config
        if self.tts_model_type is Kind.BASE and self.speaker_encoder_config.enc_dim != talker.hidden_size:
            raise ValueError(
                f"speaker_encoder_config.enc_dim {self.speaker_encoder_config.enc_dim} must be the talker's "
                f"hidden_size {talker.hidden_size}"
            )


class GenerationConfig(Fields, frozen=True, kw_only=True):
    """How frames are sampled unless a request says otherwise. `top_k` 0 is all, `top_p` 1 is all."""

    do_sample: bool = True
    temperature: Annotated[float, Meta(gt=0)] = 0.9
    top_k: Id = 50
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Meta(gt=0)] = 1.05
    subtalker_dosample: bool = True
    subtalker_temperature: Annotated[float, Meta(gt=0)] = 0.9
    subtalker_top_k: Id = 50
    subtalker_top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    max_new_tokens: Positive = 8192


SAMPLING_FIELDS = frozenset({"do_sample", "temperature", "top_k", "top_p", "repetition_penalty"})
