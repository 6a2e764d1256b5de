"""Writes the bundle of a pocket-tts checkpoint: graphs, tokenizer, voices, and a manifest with whose they are.

The folder appears whole or not at all: it is written beside its place and moved there.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engines.families.bundle import FORMAT
from engines.families.pocket.bundle import Bundle
from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.files import Checkpoint
from models.checkpoints.pocket.voices import ATTRIBUTION, Voice
from models.checkpoints.pocket.weights import SPOKEN, shapes
from models.exporting.destination import check_out, check_room, unwritable
from models.exporting.pocket import int8
from models.exporting.pocket.cloning import cloning_of
from models.exporting.pocket.decoder import decoder_graph, states
from models.exporting.pocket.layers import Float, halves
from models.exporting.pocket.speech_lm import prefill_graph, step_graph
from models.exporting.pocket.voice_graphs import most_positions, voice_graphs
from models.sharing import save_sharing

CHUNK_TOKENS = 50  # the model was trained on sentences; longer ones lose words
TOKENS_PER_S, SPARE_S = 3.0, 2.0  # the longest that so many tokens may last
IGNORED_FRAMES = 6
_PADDING = 8  # positions that a short block of text may write beyond its end
_ROUNDED = 16
CLONING_WEIGHTS = "cloning.bin"
_LEAST_MEMORY, _MEMORY_A_WEIGHT = 300_000_000, 20  # bytes: a little below what was measured at 1.9M and 100M


def export(checkpoint: Checkpoint, folder: Path, name: str | None = None, *, clones: bool = False) -> dict[str, Any]:
    """-> the manifest. With `clones` voices can be added to the bundle. Raises ExportError where the folder exists or
    cannot be written, CheckpointError where the weights hear no voice."""
    check_out(folder)
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        manifest = _write(checkpoint, beside, name or f"pocket-{checkpoint.name}", clones)
        Bundle.load(beside)
        beside.rename(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return manifest


def check(config: Config, folder: Path, *, clones: bool) -> None:
    """What the configuration alone tells, before the weights are fetched or read. Graphs hold two bytes a weight, or
    one in int8."""
    counts = {name: math.prod(shape) for name, shape in shapes(config).items()}
    written = sum(count for name, count in counts.items() if clones or name.startswith(SPOKEN))
    check_room(folder, 2 * written, _LEAST_MEMORY + _MEMORY_A_WEIGHT * sum(counts.values()))


def prefix_of(voice: Voice) -> tuple[Float, Float]:
    """Keys and values [layers, kv_heads, T, head_dim] as the graphs' cache has them."""
    return voice.keys[..., halves(voice.keys.shape[-1])], voice.values


def positions_of(checkpoint: Checkpoint, clones: bool = False) -> int:
    """Of a slot: the longest voice, a chunk of text, and the frames that it may last."""
    seconds = CHUNK_TOKENS / TOKENS_PER_S + SPARE_S
    frames = math.ceil(seconds * checkpoint.config.mimi.frame_rate)
    longest = max(voice.positions for voice in checkpoint.voices)
    if clones:
        longest = max(longest, most_positions(checkpoint.config))
    needed = longest + CHUNK_TOKENS + frames + _PADDING
    return -(-needed // _ROUNDED) * _ROUNDED


def _write(checkpoint: Checkpoint, folder: Path, name: str, clones: bool) -> dict[str, Any]:
    config, weights, positions = checkpoint.config, checkpoint.weights, positions_of(checkpoint, clones)
    cloning = {"cloning": _write_cloning(checkpoint, folder)} if clones else {}
    decoder = decoder_graph(config, weights)
    forms = int8.chosen(
        checkpoint,
        step_graph(config, weights, positions),
        prefill_graph(config, weights, positions),
        decoder,
        positions,
    )
    save_sharing({"step": forms.step, "prefill": forms.prefill, "decoder": forms.decoder}, folder)
    # Not by its own `save`, whose errors are plain exceptions.
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.to_str(pretty=True), encoding="utf-8")
    for voice in checkpoint.voices:
        np.save(folder / f"{voice.name}.npy", np.stack(prefix_of(voice)))
    manifest = _manifest(checkpoint, positions, name) | {
        "decoder": {
            "steps_per_frame": config.mimi.upsampling,
            "states": [{"name": name, "shape": shape} for name, shape in states(decoder)],
        },
        **cloning,
        "files": {path.name: _digest(path) for path in sorted(folder.iterdir())},
        "quality": forms.measured,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _write_cloning(checkpoint: Checkpoint, folder: Path) -> dict[str, Any]:
    """Beside weights of their own, which the engine does not read."""
    graphs = voice_graphs(checkpoint.config, checkpoint.weights, half=True)
    save_sharing(graphs, folder, CLONING_WEIGHTS)
    found: dict[str, Any] = msgspec.to_builtins(cloning_of(checkpoint.config, graphs["follows"]))
    return found


def _manifest(checkpoint: Checkpoint, positions: int, name: str) -> dict[str, Any]:
    config, backbone = checkpoint.config, checkpoint.config.flow_lm.transformer
    return {
        "format": FORMAT,
        "family": Bundle.FAMILY,
        "name": name,
        "version": "1",
        "sample_rate_hz": config.mimi.sample_rate,
        "hop_length": config.mimi.hop,
        "text": {
            "vocabulary": config.flow_lm.lookup_table.n_bins,
            "replaced": config.replace_characters,
            "removes_semicolons": config.remove_semicolons,
            "adds_full_stop": config.append_terminal_punctuation,
            "capitalises": config.capitalize_first_letter,
        },
        "end": {
            "threshold": config.default_eos_threshold,
            "ignored_frames": IGNORED_FRAMES,
            "frames_after": config.model_recommended_frames_after_eos,
        },
        "lm": {
            "layers": backbone.num_layers,
            "kv_heads": backbone.kv_heads,
            "head_dim": backbone.head_dim,
            "positions": positions,
            "first_frame": checkpoint.weights["flow_lm.bos_emb"].tolist(),
        },
        "voices": [
            {
                "id": voice.name,
                "name": voice.name.replace("_", " ").title(),
                "description": f"{voice.source}, {voice.licence}",
                "file": f"{voice.name}.npy",
                "positions": voice.positions,
                "licence": voice.licence,
                "source": voice.source,
            }
            for voice in checkpoint.voices
        ],
        "temperature": config.default_temperature,
        "licences": licences(checkpoint),
        "provenance": {"source": checkpoint.source, "model": checkpoint.name},
    }


def licences(checkpoint: Checkpoint) -> list[str]:
    weights = f"weights {checkpoint.name} of Kyutai's pocket-tts: {ATTRIBUTION}"
    return [weights, *(f"voice {one.name} ({one.source}): {one.licence}" for one in checkpoint.voices)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
