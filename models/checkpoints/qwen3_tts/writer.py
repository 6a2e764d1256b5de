"""Random checkpoints in the published layout: tiny ones for tests, and the published sizes, which prove speed and
memory alone. The text tokenizer is byte pairs over a few words, at the ids that the config leaves below its special
tokens."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from models.checkpoints.files import strict
from models.checkpoints.qwen3_tts.codec_config import CodecConfig
from models.checkpoints.qwen3_tts.config import ModelConfig
from models.checkpoints.qwen3_tts.reader import CODEC_FOLDER, expected_codec_tensors, expected_tensors
from models.checkpoints.qwen3_tts.sizes import SIZES, Size
from models.checkpoints.safetensors import write, write_sharded

GENERATION = {
    "do_sample": True,
    "temperature": 0.9,
    "top_k": 50,
    "top_p": 1.0,
    "repetition_penalty": 1.05,
    "subtalker_dosample": True,
    "subtalker_temperature": 0.9,
    "subtalker_top_k": 50,
    "subtalker_top_p": 1.0,
    "max_new_tokens": 8192,
}
_ROLES = ("assistant", "user")
_WORDS = "hello world the quick brown fox speaks in a clear voice and good morning everyone".split()


def write_checkpoint(
    folder: Path, size: Size, kind: str = "custom_voice", seed: int = 0, shard_bytes: int | None = None
) -> None:
    """All files of a checkpoint, bfloat16, one shard unless `shard_bytes` says otherwise."""
    codec_folder = folder / CODEC_FOLDER
    codec_folder.mkdir(parents=True, exist_ok=True)
    config, codec = size.model(kind), size.codec()
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", GENERATION)
    _write_json(codec_folder / "config.json", codec)
    _write_json(folder / "preprocessor_config.json", {"padding_side": "left", "processor_class": "Qwen3TTSProcessor"})
    features = {"feature_extractor_type": "EncodecFeatureExtractor", "feature_size": 1, "sampling_rate": 24000}
    _write_json(codec_folder / "preprocessor_config.json", features)
    _write_tokenizer(folder, config)
    generator = torch.Generator().manual_seed(seed)
    tensors = _random(expected_tensors(strict(config, ModelConfig, "config.json")), generator)
    if shard_bytes is None:
        write(folder / "model.safetensors", tensors)
    else:
        write_sharded(folder, tensors, shard_bytes)
    expected = expected_codec_tensors(strict(codec, CodecConfig, "config.json"))
    write(codec_folder / "model.safetensors", _random(expected, generator))


def _random(expected: dict[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Values that keep activations near 1 through every layer, so that a wrong sum shows."""
    tensors = {}
    for name, shape in expected.items():
        value = torch.randn(shape, generator=generator)
        if name.endswith(("cluster_usage",)):
            value = 1 + value.abs()
        elif name.endswith("initialized"):
            value = torch.ones(shape)
        elif name.endswith(("norm.weight", "layernorm.weight")):
            value = 1 + 0.1 * value
        elif name.endswith(("alpha", "beta", ".bias")):
            value = 0.1 * value
        elif name.endswith(("gamma", "scale")):
            value = 0.3 + 0.1 * value
        elif name.endswith("embedding.weight") or ".codec_embedding." in name or "embed" in name.rpartition(".")[2]:
            value = 0.5 * value
        else:
            value = value * value[0].numel() ** -0.5
            if name.startswith("decoder.decoder."):  # residual sums double from unit to unit; samples stay inside +-1
                value = 0.4 * value
        tensors[name] = value.to(torch.bfloat16)
    return tensors


def _write_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    alphabet = _byte_letters()
    pieces, merges = list(alphabet), []
    space = alphabet[188 + 32]  # of byte 32: the 188 printable bytes come first
    for word in [*_ROLES, *_WORDS, *(space + one for one in _WORDS)]:
        for end in range(2, len(word) + 1):
            if word[:end] not in pieces:
                merges.append(f"{word[: end - 1]} {word[end - 1]}")
                pieces.append(word[:end])
    first, last = config["im_start_token_id"], config["tts_eos_token_id"]
    assert len(pieces) <= first, "the pieces' ids must lie below the special tokens'"
    pieces += [f"<unused{number}>" for number in range(len(pieces), first)]  # libraries count ids without gaps
    _write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    names = {number: f"<|extra_{number - first}|>" for number in range(first, last + 1)} | {
        config["im_start_token_id"]: "<|im_start|>",
        config["im_end_token_id"]: "<|im_end|>",
        config["tts_pad_token_id"]: "<tts_pad>",
        config["tts_bos_token_id"]: "<tts_text_bos>",
        config["tts_eos_token_id"]: "<tts_text_eod>",
    }
    marks = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    special = {str(number): {"content": name, "special": True, **marks} for number, name in names.items()}
    _write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": special,
            "errors": "replace",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def _byte_letters() -> list[str]:
    """The printable letter that byte-level pair encoding writes for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(others))]


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a checkpoint with random weights in the published layout.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--kind", choices=("base", "custom_voice", "voice_design"), default="custom_voice")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_checkpoint(given.folder, SIZES[given.size], given.kind, given.seed, shard_bytes=2 << 30)


if __name__ == "__main__":
    main()
