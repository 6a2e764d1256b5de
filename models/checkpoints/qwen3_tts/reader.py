"""Opens a published Qwen3-TTS checkpoint: configs, tokenizer files, tensors. Strict, and lazy until weights are asked
for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from models.checkpoints.errors import CheckpointError
from models.checkpoints.files import read_json, strict
from models.checkpoints.qwen3_tts.codec_config import CodecConfig
from models.checkpoints.qwen3_tts.codec_decoder import CodecDecoder
from models.checkpoints.qwen3_tts.codec_encoder import CodecEncoder
from models.checkpoints.qwen3_tts.config import SAMPLING_FIELDS, GenerationConfig, Kind, ModelConfig
from models.checkpoints.qwen3_tts.speaker_encoder import SpeakerEncoder
from models.checkpoints.qwen3_tts.talker import Talker
from models.checkpoints.safetensors import Tensors

Network = TypeVar("Network", bound=nn.Module)
MODEL_TYPE = "qwen3_tts"
CODEC_FOLDER = "speech_tokenizer"
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    folder: Path
    config: ModelConfig
    generation: GenerationConfig
    codec: CodecConfig
    tensors: Tensors
    codec_tensors: Tensors

    @property
    def clones(self) -> bool:
        return self.config.tts_model_type is Kind.BASE

    def talker(self) -> Talker:
        return _loaded(Talker, self.config.talker_config, self.tensors, "talker.")

    def speaker_encoder(self) -> SpeakerEncoder:
        if not self.clones:
            kind = self.config.tts_model_type.value
            raise CheckpointError(f"a {kind} checkpoint has no speaker encoder; a base checkpoint has")
        return _loaded(SpeakerEncoder, self.config.speaker_encoder_config, self.tensors, "speaker_encoder.")

    def codec_decoder(self) -> CodecDecoder:
        return _loaded(CodecDecoder, self.codec.decoder_config, self.codec_tensors, "decoder.")

    def codec_encoder(self) -> CodecEncoder:
        return _loaded(CodecEncoder, self.codec.encoder_config, self.codec_tensors, "encoder.")


@dataclass(frozen=True, slots=True)
class Configs:
    model: ModelConfig
    generation: GenerationConfig
    codec: CodecConfig


def configs(folder: Path) -> Configs:
    """Without the weights, which may not be there yet. Raises CheckpointError: the files are there, of known fields."""
    content = read_json(folder / "config.json")
    if content.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{folder / 'config.json'} is of model_type {content.get('model_type')!r}, right is {MODEL_TYPE!r}"
        )
    config = strict(content, ModelConfig, "config.json")
    sampling = read_json(folder / "generation_config.json")
    generation = strict(sampling, GenerationConfig, "generation_config.json", SAMPLING_FIELDS)
    for name in TOKENIZER_FILES:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}")
    codec = strict(read_json(folder / CODEC_FOLDER / "config.json"), CodecConfig, f"{CODEC_FOLDER}/config.json")
    if codec.decoder_config.num_quantizers != config.talker_config.num_code_groups:
        raise CheckpointError(
            f"the codec has {codec.decoder_config.num_quantizers} codebooks, the talker speaks "
            f"{config.talker_config.num_code_groups}"
        )
    return Configs(config, generation, codec)


def read(folder: Path) -> Checkpoint:
    """Raises CheckpointError: all files are there, whole, of known fields, names, shapes and types."""
    found = configs(folder)
    tensors, codec_tensors = Tensors.open(folder), Tensors.open(folder / CODEC_FOLDER)
    tensors.check(expected_tensors(found.model))
    codec_tensors.check(expected_codec_tensors(found.codec))
    return Checkpoint(folder, found.model, found.generation, found.codec, tensors, codec_tensors)


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {"talker.": Talker(config.talker_config)}
        if config.tts_model_type is Kind.BASE:
            parts["speaker_encoder."] = SpeakerEncoder(config.speaker_encoder_config)
    return _shapes(parts)


def expected_codec_tensors(codec: CodecConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return _shapes({"decoder.": CodecDecoder(codec.decoder_config), "encoder.": CodecEncoder(codec.encoder_config)})


def _shapes(parts: dict[str, nn.Module]) -> dict[str, tuple[int, ...]]:
    return {
        prefix + name: tuple(value.shape)
        for prefix, module in parts.items()
        for name, value in module.state_dict().items()
    }


def _loaded(kind: Callable[[Any], Network], config: Any, tensors: Tensors, prefix: str) -> Network:
    """A network with the checkpoint's weights in float32. Never initialised first: that alone takes a minute."""
    with torch.device("meta"):
        network = kind(config)
    weights = {name: tensors.read(prefix + name) for name in network.state_dict()}
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)
