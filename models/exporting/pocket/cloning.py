"""A voice of one's own from a recording, where the weights hold the voice encoder (Kyutai gives those to who asks)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import soxr
from numpy.typing import NDArray

from engines.errors import BadParameter
from engines.families.common.recording_files import SUFFIXES, decoded
from engines.families.common.recordings import check_recording
from engines.families.pocket.bundle import Cloning, SpeechModel, State
from engines.families.pocket.cloning import encoded, ends_on_pause
from engines.runtime.base import Array
from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config
from models.checkpoints.pocket.files import Checkpoint, is_voice_state
from models.checkpoints.pocket.voices import Voice
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.calibration import session
from models.exporting.pocket.decoder import states
from models.exporting.pocket.layers import Float, halves
from models.exporting.pocket.voice_graphs import most_positions, opening, voice_graphs


class _Session:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._session = session(model)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        names = [one.name for one in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    name: str
    samples: NDArray[np.float32]  # [S], mono
    rate_hz: int


def is_recording(voice: str) -> bool:
    """Not a voice's name, nor a voice state's file: a name as sound files have, or another file that is there."""
    path = Path(voice)
    return path.suffix.lower() in SUFFIXES or (path.is_file() and not is_voice_state(voice))


def read_recording(path: Path) -> Recording:
    """Raises CheckpointError for a file that is no recording of a voice; looks at the file alone."""
    try:
        samples, rate_hz = decoded(path.read_bytes())
        check_recording(samples, rate_hz)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except BadParameter as error:
        raise CheckpointError(f"{path.name}: {error}") from error
    return Recording(name=path.stem, samples=samples, rate_hz=rate_hz)


def voice_of(recording: Recording, checkpoint: Checkpoint, licence: str) -> Voice:
    """Raises CheckpointError for weights that cannot hear it."""
    rate_hz, samples = checkpoint.config.mimi.sample_rate, recording.samples
    if recording.rate_hz != rate_hz:
        samples = soxr.resample(samples, recording.rate_hz, rate_hz).astype(np.float32)
    keys, values = encode_voice(checkpoint.config, checkpoint.weights, ends_on_pause(samples, rate_hz))
    return Voice(name=recording.name, licence=licence, source="as given at export", keys=keys, values=values)


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
