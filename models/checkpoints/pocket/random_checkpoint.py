"""A checkpoint of random weights in the released layout, for tests and rehearsals: what speaks is noise of the right
shape and cost. Nothing here needs the network.

Scales keep activations near 1 through all layers, and an utterance ends by chance, two or three seconds in.

    python -m models.checkpoints.pocket.random_checkpoint MODEL FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from models.checkpoints.pocket import releases
from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.files import CONFIG
from models.checkpoints.pocket.weights import Weights, shapes
from models.checkpoints.safetensors import SINGLE, write

VOICE_POSITIONS = 60
_ENDS_BELOW = 2.0  # deviations of the end logit from its mean to the threshold
_SPACE = "▁"


def write_random(folder: Path, config: Config, voices: tuple[str, ...] = ("alba",), seed: int = 0) -> None:
    """Writes model.safetensors, a tokenizer, config.yaml and embeddings/VOICE.safetensors into the folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    weights = random_weights(config, rng)
    write(folder / SINGLE, {name: torch.from_numpy(value) for name, value in weights.items()})
    (folder / CONFIG).write_text(yaml.safe_dump(msgspec.to_builtins(config), allow_unicode=True), encoding="utf-8")
    pieces = _pieces(config.flow_lm.lookup_table.n_bins)
    if config.flow_lm.lookup_table.tokenizer == "sentencepiece":
        (folder / "tokenizer.model").write_bytes(sentencepiece_file(pieces))
    else:
        tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
        tokenizer.normalizer = normalizers.Strip()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, "always")
        tokenizer.decoder = decoders.Metaspace(_SPACE, "always")
        tokenizer.save(str(folder / "tokenizer.json"))
    for voice in voices:
        write_voice(folder / "embeddings" / f"{voice}.safetensors", config, rng)


def random_weights(config: Config, rng: np.random.Generator) -> Weights:
    return {name: _values(name, shape, config, rng) for name, shape in shapes(config).items()}


def write_voice(path: Path, config: Config, rng: np.random.Generator, positions: int = VOICE_POSITIONS) -> None:
    backbone = config.flow_lm.transformer
    shape = (2, 1, positions, backbone.kv_heads, backbone.head_dim)
    tensors = {}
    for layer in range(backbone.num_layers):
        at = f"transformer.layers.{layer}.self_attn"
        tensors[f"{at}/cache"] = torch.from_numpy(rng.standard_normal(shape, np.float32))
        tensors[f"{at}/offset"] = torch.tensor([positions])
        tensors[f"{at}/pad"] = torch.tensor([0])
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, tensors)


def _values(name: str, shape: tuple[int, ...], config: Config, rng: np.random.Generator) -> NDArray[np.float32]:
    if name.endswith("freqs"):
        return np.exp(-np.log(10_000) * np.arange(shape[0]) / shape[0]).astype(np.float32)
    if name == "flow_lm.out_eos.bias":
        return np.full(shape, config.default_eos_threshold - _ENDS_BELOW, np.float32)
    values = rng.standard_normal(shape, np.float32)
    if "norm" in name or "in_ln" in name or name.endswith(("emb_std", "alpha")):
        return 0.05 * values + (0 if name.endswith("bias") else 1)
    if "layer_scale" in name:
        return 0.2 + 0.02 * values
    if name.endswith(("bias", "emb_mean")):
        return 0.05 * values
    if len(shape) < 2 or "embed.weight" in name or "bos" in name:
        return values
    fan_in = int(np.prod(shape[1:])) if "convtr" not in name else (2 if shape[1] == 1 else 2 * shape[0])
    return values / np.float32(np.sqrt(fan_in))


def _pieces(count: int) -> list[tuple[str, float]]:
    """<unk>, marks and letters, alone and behind a space, and made-up syllables up to the wanted number."""
    characters = [chr(code) for code in range(33, 127)] + list("…–—’‘“”éïü")
    names = ["<unk>", _SPACE, *characters, *(_SPACE + one for one in characters)]
    onsets, vowels = ["", *"bcdfghjklmnprstvwz", "th", "sh", "ch", "st", "tr"], [*"aeiou", "ea", "ou", "er", "in", "on"]
    codas = ["", *"bdgklmnprstxy", "nd", "st", "ng"]
    for coda in codas:
        for vowel in vowels:
            for onset in onsets:
                names += [onset + vowel + coda, _SPACE + onset + vowel + coda]
    kept = list(dict.fromkeys(names))[:count]
    assert len(kept) == count, f"only {len(kept)} pieces, {count} are wanted"
    return [(name, 0.0 if name == "<unk>" else -2.0 - 0.5 / len(name)) for name in kept]


def sentencepiece_file(pieces: list[tuple[str, float]]) -> bytes:
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.trainer_spec.vocab_size = len(pieces)
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id = 0, -1, -1
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    for name, score in pieces:
        kind = model.SentencePiece.UNKNOWN if name == "<unk>" else model.SentencePiece.NORMAL
        model.pieces.add(piece=name, score=score, type=kind)
    content: bytes = model.SerializeToString()
    return content


if __name__ == "__main__":
    write_random(Path(sys.argv[2]), releases.release(sys.argv[1]))
