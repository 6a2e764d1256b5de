"""A Qwen3-TTS checkpoint to a bundle, part by part, each held against the network that it came from."""

from __future__ import annotations

import hashlib
import json
import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx

from engines.families.bundle import FORMAT
from engines.families.qwen3_tts.bundle import Bundle
from engines.families.qwen3_tts.section import Qwen3TtsSection
from models.checkpoints.qwen3_tts.reader import (
    CODEC_FOLDER,
    Checkpoint,
    Configs,
    expected_codec_tensors,
    expected_tensors,
    read,
)
from models.checkpoints.qwen3_tts.talker import Talker
from models.exporting.destination import check_room
from models.exporting.errors import ExportError
from models.exporting.parts import Parts
from models.exporting.qwen3_tts import manifest as named
from models.exporting.qwen3_tts import parity
from models.exporting.qwen3_tts.calibration import int8_steps
from models.exporting.qwen3_tts.encoders import export_codec_encoder, export_speaker_encoder
from models.exporting.qwen3_tts.prompts import COMPARED, Prompt, prompt
from models.exporting.qwen3_tts.talker_graphs import judged_graph, prefill_graph, step_graph
from models.exporting.qwen3_tts.tokenizer import built
from models.exporting.qwen3_tts.vocoder_graph import vocoder_graph
from models.exporting.weights import WeightFile

LEAST_POSITIONS = 64
_PARITY_FRAMES = 12
_JUDGED = "judged.onnx"  # no part of the bundle
_NOTED = 2  # of what parts note: what another version began is begun anew


def check(configs: Configs, out: Path, positions: int) -> None:
    """What the configuration alone tells, before the weights are fetched or read."""
    most = configs.model.talker_config.max_position_embeddings - named.SPARE_POSITIONS
    if not LEAST_POSITIONS <= positions <= most:
        raise ExportError(f"positions {positions} is out of range {LEAST_POSITIONS} to {most}")
    stored, loaded = _sizes(configs)
    check_room(out, int(1.1 * stored), loaded)


def export(
    folder: Path, out: Path, *, name: str, positions: int, dtype: str = "float32", say: Callable[[str], None]
) -> None:
    checkpoint = read(folder)
    parts = Parts(out, _digest(checkpoint, [FORMAT, _NOTED, positions, dtype]), say)
    tokenizer = built(folder)
    parts.do("tokenizer", lambda: _tokenizer(tokenizer, parts.folder))
    states = parts.do("vocoder", lambda: _vocoder(checkpoint, parts.folder))
    section = named.section(checkpoint, tokenizer, positions, [(state, tuple(shape)) for state, shape in states])
    figures: dict[str, Any] = {}
    steps = None
    if dtype == "int8":
        steps = parts.do("calibration", lambda: int8_steps(parts.folder, checkpoint, section, tokenizer))
    given = prompt(section, tokenizer, COMPARED, parity.STEPS)
    figures |= parts.do("talker", lambda: _talker(checkpoint, parts.folder, section, given, steps))
    if steps is not None:
        say(f"int8: {parity.figures_in_words(figures)}; what it does to speech is not heard here")
    figures["vocoder"] = parts.do("vocoder parity", lambda: _vocoder_parity(checkpoint, parts.folder, states))
    if checkpoint.clones:
        figures["speaker_embedding"] = parts.do("speaker encoder", lambda: _speaker(checkpoint, parts.folder))
        figures["codec_codes_that_differ"] = parts.do("codec encoder", lambda: _codec(checkpoint, parts.folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    parts.finish(
        {
            "format": FORMAT,
            "family": Bundle.FAMILY,
            "name": name,
            "version": "1",
            "licences": ["Apache-2.0 (weights and reference code of Qwen3-TTS)"],
            "provenance": {
                "source": folder.resolve().name,
                "model": f"Qwen3-TTS-12Hz {checkpoint.config.tts_model_size} {checkpoint.config.tts_model_type.value}",
                "device": "cpu",
                "dtype": dtype,
            },
            "quality": {
                "parity": figures,
                "seconds": parts.seconds(),
                "peak_memory_bytes": peak,
            },
            "qwen3_tts": msgspec.to_builtins(section),
        }
    )
    say(f"{out}: {sum(path.stat().st_size for path in out.iterdir()) / 1e9:.2f} GB, peak memory {peak / 1e9:.1f} GB")


def _sizes(configs: Configs) -> tuple[int, int]:
    """Bytes of the bundle, and of memory: the talker in float32, the pages of its file, and its largest table being
    compared with what is stored."""
    counts = [math.prod(shape) for shape in expected_tensors(configs.model).values()]
    codec = sum(math.prod(shape) for shape in expected_codec_tensors(configs.codec).values())
    return 2 * sum(counts) + 4 * codec, 6 * (sum(counts) + max(counts))


def _digest(checkpoint: Checkpoint, options: list[Any]) -> str:
    """Of the configs and of the weight files' sizes and times: their bytes take minutes. Folders below are not looked
    into: the bundle itself may lie there."""
    digest = hashlib.sha256(json.dumps(options).encode())
    for path in sorted(one for folder in ("", CODEC_FOLDER) for one in (checkpoint.folder / folder).glob("*")):
        if path.suffix in (".json", ".txt"):
            digest.update(path.read_bytes())
        elif path.suffix == ".safetensors":
            digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()


def _tokenizer(tokenizer: Any, folder: Path) -> None:
    """Not by its own `save`, whose errors are plain exceptions."""
    (folder / named.TOKENIZER).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")


def _talker(
    checkpoint: Checkpoint, folder: Path, section: Qwen3TtsSection, given: Prompt, steps: dict[str, float] | None
) -> dict[str, float]:
    expected = _written(checkpoint.talker(), folder, section, given, steps)
    if steps is None:
        return parity.talker(folder, expected, section.talker, named.STEP, named.PREFILL)
    figures = parity.talker(folder, expected, section.talker, _JUDGED, named.PREFILL, section.sampling)
    (folder / _JUDGED).unlink()
    return figures


def _written(
    network: Talker, folder: Path, section: Qwen3TtsSection, given: Prompt, steps: dict[str, float] | None
) -> parity.Spoken:
    """Both graphs, and what they must say. The caller holds no network: the runtime needs its memory."""
    part = section.talker
    positions = part.positions + part.spare_positions
    with WeightFile(folder / "talker.weights") as weights:
        onnx.save(step_graph(network, weights, positions, part.most_likely, steps), folder / named.STEP)
        onnx.save(prefill_graph(network, weights, positions, steps), folder / named.PREFILL)
        if steps is not None:
            onnx.save(judged_graph(network, weights, positions, part.most_likely, steps), folder / _JUDGED)
    return parity.spoken(network, part, given)


def _vocoder(checkpoint: Checkpoint, folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    network = checkpoint.codec_decoder()
    with WeightFile(folder / "vocoder.weights") as weights:
        model, states = vocoder_graph(network, weights, network.config.max_position_embeddings)
    onnx.save(model, folder / named.VOCODER)
    return states


def _vocoder_parity(checkpoint: Checkpoint, folder: Path, states: list[Any]) -> float:
    shapes = [(name, tuple(shape)) for name, shape in states]
    return parity.vocoder(folder / named.VOCODER, checkpoint.codec_decoder(), shapes, _PARITY_FRAMES)


def _speaker(checkpoint: Checkpoint, folder: Path) -> float:
    network = checkpoint.speaker_encoder()
    export_speaker_encoder(network, folder / named.SPEAKER_ENCODER)
    return parity.embedding(folder / named.SPEAKER_ENCODER, network)


def _codec(checkpoint: Checkpoint, folder: Path) -> float:
    network, codec = checkpoint.codec_encoder(), checkpoint.codec
    count, hop = codec.encoder_valid_num_quantizers, codec.encode_downsample_rate
    export_codec_encoder(network, count, hop, folder / named.CODEC_ENCODER)
    return parity.codes(folder / named.CODEC_ENCODER, network, count, hop)
