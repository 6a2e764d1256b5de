"""The checkpoint's numbers as the served family's section."""

from __future__ import annotations

from typing import Any

from engines.families.qwen3_tts.section import (
    CloningPart,
    CodecIds,
    Qwen3TtsSection,
    SamplingPart,
    TalkerPart,
    TextPart,
    VocoderPart,
    VocoderState,
)
from models.checkpoints.errors import CheckpointError
from models.checkpoints.qwen3_tts.config import GenerationConfig
from models.checkpoints.qwen3_tts.reader import Checkpoint

STEP, PREFILL, VOCODER, TOKENIZER = "step.onnx", "prefill.onnx", "vocoder.onnx", "tokenizer.json"
SPEAKER_ENCODER, CODEC_ENCODER = "speaker_encoder.onnx", "codec_encoder.onnx"
SPARE_POSITIONS = 8  # a prefill's last block is filled up to so many
_LEAST_MOST = 64


def most_likely(checkpoint: Checkpoint) -> int:
    """Codes that may be drawn from: the checkpoint's top_k, with room for requests that ask for more."""
    generation, talker = checkpoint.generation, checkpoint.config.talker_config
    asked = (generation.top_k, generation.subtalker_top_k)
    return talker.codes if 0 in asked else min(talker.codes, max(_LEAST_MOST, *asked))


def section(
    checkpoint: Checkpoint, tokenizer: Any, positions: int, states: list[tuple[str, tuple[int, ...]]]
) -> Qwen3TtsSection:
    config, talker, codec = checkpoint.config, checkpoint.config.talker_config, checkpoint.codec
    cloning = None
    if checkpoint.clones:
        cloning = CloningPart(speaker_encoder=SPEAKER_ENCODER, codec_encoder=CODEC_ENCODER, width=talker.hidden_size)
    return Qwen3TtsSection(
        kind=config.tts_model_type.value,
        takes_instructions=config.tts_model_type.value != "base" and config.tts_model_size != "0b6",
        talker=TalkerPart(
            step=STEP,
            prefill=PREFILL,
            layers=talker.num_hidden_layers,
            kv_heads=talker.num_key_value_heads,
            head_dim=talker.head_dim,
            width=talker.hidden_size,
            positions=positions,
            spare_positions=SPARE_POSITIONS,
            codebooks=talker.num_code_groups,
            vocabulary=talker.vocab_size,
            codes=talker.code_predictor_config.vocab_size,
            most_likely=most_likely(checkpoint),
        ),
        vocoder=VocoderPart(
            file=VOCODER,
            states=tuple(VocoderState(name=name, shape=shape) for name, shape in states),
            rate_hz=codec.output_sample_rate,
            hop_length=codec.decode_upsample_rate,
            positions=codec.decoder_config.max_position_embeddings,
        ),
        text=_text(checkpoint, tokenizer),
        codec=CodecIds(
            pad=talker.codec_pad_id,
            begin=talker.codec_bos_id,
            end=talker.codec_eos_token_id,
            think=talker.codec_think_id,
            nothink=talker.codec_nothink_id,
            think_begin=talker.codec_think_bos_id,
            think_end=talker.codec_think_eos_id,
            languages=talker.codec_language_id,
            speakers=talker.spk_id,
            dialects={name: one for name, one in talker.spk_is_dialect.items() if one is not False},
        ),
        sampling=_sampling(checkpoint.generation),
        cloning=cloning,
    )


def _text(checkpoint: Checkpoint, tokenizer: Any) -> TextPart:
    config = checkpoint.config

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    role = [config.im_start_token_id, *ids("assistant\n")]
    if len(role) != 3:
        raise CheckpointError(f"the tokenizer makes {len(role) - 1} ids of 'assistant' and a line break, right is 2")
    return TextPart(
        tokenizer=TOKENIZER,
        role=tuple(role),
        instruction_open=(config.im_start_token_id, *ids("user\n")),
        instruction_close=(config.im_end_token_id, *ids("\n")),
        pad=config.tts_pad_token_id,
        begin=config.tts_bos_token_id,
        end=config.tts_eos_token_id,
    )


def _sampling(generation: GenerationConfig) -> SamplingPart:
    return SamplingPart(
        temperature=generation.temperature if generation.do_sample else 0.0,
        top_k=generation.top_k,
        top_p=generation.top_p,
        repetition_penalty=generation.repetition_penalty,
        inner_temperature=generation.subtalker_temperature if generation.subtalker_dosample else 0.0,
        inner_top_k=generation.subtalker_top_k,
        inner_top_p=generation.subtalker_top_p,
    )
