"""A voice of one's own from a recording, where the weights hold the voice encoder (Kyutai gives those to who asks)."""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import soxr
from numpy.typing import NDArray

from engines.errors import BadParameter
from engines.families.common.recordings import check_recording
from engines.families.pocket.bundle import Cloning, SpeechModel, State
from engines.families.pocket.cloning import encoded, ends_on_pause
from engines.runtime.base import Array
from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.files import Checkpoint
from models.checkpoints.pocket.voices import Voice
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.calibration import session
from models.exporting.pocket.decoder import states
from models.exporting.pocket.layers import Float, halves
from models.exporting.pocket.voice_graphs import most_positions, opening, voice_graphs

_S16 = 32768.0


class _Session:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = session(model)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [one.name for one in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))


def is_recording(voice: str) -> bool:
    return voice.endswith(".wav")


def voice_of(path: Path, checkpoint: Checkpoint, licence: str) -> Voice:
    """Raises CheckpointError for a file that is no recording of a voice, or weights that cannot hear one."""
    rate_hz = checkpoint.config.mimi.sample_rate
    try:
        samples, recorded_hz = _read(path)
        check_recording(samples, recorded_hz)
    except BadParameter as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    if recorded_hz != rate_hz:
        samples = soxr.resample(samples, recorded_hz, rate_hz).astype(np.float32)
    keys, values = encode_voice(checkpoint.config, checkpoint.weights, ends_on_pause(samples, rate_hz))
    return Voice(name=path.stem, licence=licence, source="as given at export", keys=keys, values=values)


def encode_voice(config: Config, weights: Weights, samples: Float) -> tuple[Float, Float]:
    """samples [S] at the model's rate -> keys and values [layers, kv_heads, T, head_dim], as a voice state has them."""
    graphs, backbone = voice_graphs(config, weights, half=False), config.flow_lm.transformer
    cloning = cloning_of(config, graphs["follows"])
    lm = SpeechModel(
        layers=backbone.num_layers,
        kv_heads=backbone.kv_heads,
        head_dim=backbone.head_dim,
        positions=cloning.positions,
        first_frame=(),
    )
    runs = tuple(_Session(graph) for graph in graphs.values())
    keys, values = encoded(runs, samples, config.mimi.hop, cloning, lm)
    return keys[..., np.argsort(halves(keys.shape[-1]))], values


def cloning_of(config: Config, follows: onnx.ModelProto) -> Cloning:
    return Cloning(
        steps_per_frame=config.mimi.hop // config.mimi.seanet.hop,
        states=tuple(State(name=name, shape=shape) for name, shape in states(follows)),
        opening=opening(config),
        positions=most_positions(config),
    )


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    """Mono samples and their rate."""
    try:
        with wave.open(str(path)) as file:
            width, channels, rate_hz = file.getsampwidth(), file.getnchannels(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise CheckpointError(f"{path} is no readable WAV file: {error}") from error
    if width != 2:
        raise CheckpointError(f"{path} has samples of {8 * width} bits, 16 are right")
    samples = np.frombuffer(content[: len(content) // (2 * channels) * 2 * channels], "<i2").reshape(-1, channels)
    return (samples.mean(axis=1) / _S16).astype(np.float32), rate_hz
