"""The published sizes of Qwen3-TTS-12Hz, and a tiny one with the same shape of everything, as config files' content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_LANGUAGES = "english german spanish chinese - - - - japanese - - french - korean - - - - - russian italian portuguese"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    name: str
    hidden: int
    ff: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mrope_section: tuple[int, int, int]
    codes: int  # of each codebook
    codebooks: int
    text_hidden: int
    text_vocab: int
    first_special: int  # id of <|im_start|>
    tts_pad: int
    predictor_hidden: int
    predictor_ff: int
    predictor_layers: int
    speaker: dict[str, Any]
    decoder: dict[str, Any]
    encoder: dict[str, Any]

    def model(self, kind: str) -> dict[str, Any]:
        """`config.json`"""
        attention = {
            "attention_bias": False,
            "attention_dropout": 0,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "num_attention_heads": self.heads,
            "num_code_groups": self.codebooks,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1000000,
            "sliding_window": None,
            "use_cache": True,
            "use_sliding_window": False,
        }
        predictor = attention | {
            "model_type": "qwen3_tts_talker_code_predictor",
            "hidden_size": self.predictor_hidden,
            "intermediate_size": self.predictor_ff,
            "layer_types": ["full_attention"] * self.predictor_layers,
            "max_position_embeddings": 65536,
            "max_window_layers": 28,
            "num_hidden_layers": self.predictor_layers,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "vocab_size": self.codes,
        }
        control = self.codes + 100  # pad, bos, eos, two free, think, nothink, think_bos, think_eos
        languages = {name: self.codes + 2 + place for place, name in enumerate(_LANGUAGES.split()) if name != "-"}
        languages["beijing_dialect"] = self.codes + 26
        speakers = {
            "serena": self.codes + 1018,
            "aiden": self.codes + 813,
            "dylan": self.codes + 830,
            "ryan": self.codes + 1013,
        }
        talker = attention | {
            "model_type": "qwen3_tts_talker",
            "code_predictor_config": predictor,
            "codec_bos_id": control + 1,
            "codec_eos_token_id": control + 2,
            "codec_language_id": languages,
            "codec_nothink_id": control + 7,
            "codec_pad_id": control,
            "codec_think_bos_id": control + 8,
            "codec_think_eos_id": control + 9,
            "codec_think_id": control + 6,
            "hidden_size": self.hidden,
            "intermediate_size": self.ff,
            "max_position_embeddings": 32768,
            "num_hidden_layers": self.layers,
            "position_id_per_seconds": 13,
            "rope_scaling": {
                "interleaved": True,
                "mrope_section": list(self.mrope_section),
                "rope_type": "default",
                "type": "default",
            },
            "spk_id": speakers if kind == "custom_voice" else {},
            "spk_is_dialect": dict.fromkeys(speakers, False) | {"dylan": "beijing_dialect"}
            if kind == "custom_voice"
            else {},
            "text_hidden_size": self.text_hidden,
            "text_vocab_size": self.text_vocab,
            "vocab_size": self.codes + 1024,
        }
        found = {
            "architectures": ["Qwen3TTSForConditionalGeneration"],
            "im_start_token_id": self.first_special,
            "im_end_token_id": self.first_special + 1,
            "model_type": "qwen3_tts",
            "talker_config": talker,
            "tokenizer_type": "qwen3_tts_tokenizer_12hz",
            "transformers_version": "4.57.3",
            "tts_bos_token_id": self.tts_pad + 1,
            "tts_eos_token_id": self.tts_pad + 2,
            "tts_model_size": self.name,
            "tts_model_type": kind,
            "tts_pad_token_id": self.tts_pad,
        }
        if kind == "base":
            found["speaker_encoder_config"] = {"enc_dim": self.hidden, "sample_rate": 24000} | self.speaker
        return found

    def codec(self) -> dict[str, Any]:
        """`speech_tokenizer/config.json`"""
        decoder = {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "codebook_size": self.codes,
            "hidden_act": "silu",
            "layer_scale_initial_scale": 0.01,
            "max_position_embeddings": 8000,
            "num_quantizers": self.codebooks,
            "num_semantic_quantizers": 1,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000,
            "semantic_codebook_size": 2 * self.codes,
        }
        encoder = {
            "_frame_rate": 12.5,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "audio_channels": 1,
            "codebook_size": self.codes,
            "compress": 2,
            "dilation_growth_rate": 2,
            "hidden_act": "gelu",
            "initializer_range": 0.02,
            "kernel_size": 7,
            "last_kernel_size": 3,
            "layer_scale_initial_scale": 0.01,
            "max_position_embeddings": 8000,
            "norm_eps": 1e-05,
            "normalize": False,
            "num_residual_layers": 1,
            "num_semantic_quantizers": 1,
            "pad_mode": "constant",
            "residual_kernel_size": 3,
            "rope_theta": 10000.0,
            "sampling_rate": 24000,
            "sliding_window": 250,
            "trim_right_ratio": 1.0,
            "use_cache": False,
            "use_causal_conv": True,
            "use_conv_shortcut": False,
            "use_streaming": False,
        }
        return {
            "architectures": ["Qwen3TTSTokenizerV2Model"],
            "decode_upsample_rate": 1920,
            "decoder_config": decoder | self.decoder,
            "encode_downsample_rate": 1920,
            "encoder_config": encoder | self.encoder,
            "encoder_valid_num_quantizers": self.codebooks,
            "input_sample_rate": 24000,
            "model_type": "qwen3_tts_tokenizer_12hz",
            "output_sample_rate": 24000,
            "transformers_version": "4.57.3",
        }


_DECODER = {
    "codebook_dim": 512,
    "decoder_dim": 1536,
    "head_dim": 64,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "latent_dim": 1024,
    "num_attention_heads": 16,
    "num_hidden_layers": 8,
    "num_key_value_heads": 16,
    "sliding_window": 72,
    "upsample_rates": [8, 5, 4, 3],
    "upsampling_ratios": [2, 2],
    "vector_quantization_hidden_dimension": 512,
}
_ENCODER = {
    "codebook_dim": 256,
    "head_dim": 64,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_attention_heads": 8,
    "num_filters": 64,
    "num_hidden_layers": 8,
    "num_key_value_heads": 8,
    "num_quantizers": 32,
    "upsample_groups": 512,
    "upsampling_ratios": [8, 6, 5, 4],
    "vector_quantization_hidden_dimension": 256,
}


def _published(name: str, hidden: int, ff: int) -> Size:
    return Size(
        name=name,
        hidden=hidden,
        ff=ff,
        layers=28,
        heads=16,
        kv_heads=8,
        head_dim=128,
        mrope_section=(24, 20, 20),
        codes=2048,
        codebooks=16,
        text_hidden=2048,
        text_vocab=151936,
        first_special=151644,
        tts_pad=151671,
        predictor_hidden=1024,
        predictor_ff=3072,
        predictor_layers=5,
        speaker={},
        decoder=_DECODER,
        encoder=_ENCODER,
    )


_TINY = Size(
    name="tiny",
    hidden=48,  # another width than the predictor's, as in the 1.7B
    ff=96,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=16,
    mrope_section=(4, 2, 2),
    codes=64,
    codebooks=4,
    text_hidden=40,
    text_vocab=448,
    first_special=430,
    tts_pad=440,
    predictor_hidden=32,
    predictor_ff=64,
    predictor_layers=2,
    speaker={
        "mel_dim": 16,
        "enc_channels": [16, 16, 16, 32],
        "enc_kernel_sizes": [5, 3, 3, 1],
        "enc_dilations": [1, 2, 3, 1],
        "enc_attention_channels": 8,
        "enc_res2net_scale": 4,
        "enc_se_channels": 8,
    },
    decoder=_DECODER
    | {
        "codebook_dim": 24,
        "decoder_dim": 32,
        "head_dim": 8,
        "hidden_size": 16,
        "intermediate_size": 24,
        "latent_dim": 20,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 4,
        "sliding_window": 6,
    },
    encoder=_ENCODER
    | {
        "codebook_dim": 12,
        "head_dim": 8,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 2,
        "num_filters": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "num_quantizers": 6,
        "upsample_groups": 16,
        "vector_quantization_hidden_dimension": 12,
    },
)
SIZES = {"tiny": _TINY, "0.6B": _published("0b6", 1024, 3072), "1.7B": _published("1b7", 2048, 6144)}
