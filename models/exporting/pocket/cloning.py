"""A voice of one's own from a recording, where the weights hold the voice encoder (Kyutai gives those to who asks).

    samples -> encoder: convolutions, a transformer, one vector each 80 ms -> speech model -> keys and values

The encoder runs once, here, so its graph is plain and whole: a minute's attention would take gigabytes.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import onnx
import soxr
from numpy.typing import NDArray
from onnx import TensorProto

from engines.errors import BadParameter
from engines.families.common.recordings import check_recording
from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config, Seanet
from models.checkpoints.pocket.files import Checkpoint
from models.checkpoints.pocket.voices import Voice
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket.calibration import session
from models.exporting.pocket.decoder import states, transformer
from models.exporting.pocket.layers import Float, Layers, halves
from models.exporting.pocket.speech_lm import initial_cache, voice_graph

_PAUSE_S, _FADE_S, _FRAME_S, _FLOOR_DB = 0.08, 0.02, 0.02, 35.0
_S16 = 32768.0


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
    hop = config.mimi.hop
    whole = np.concatenate([samples, np.zeros(-len(samples) % hop, np.float32)])
    graph = encoder_graph(config, weights, len(whole) // config.mimi.seanet.hop)
    feeds = {name: np.zeros((1, *shape), np.float32) for name, shape in states(graph)}
    feeds |= {"samples": whole[None], "position": np.zeros(1, np.int64)}
    (heard,) = session(graph).run(["embeddings"], feeds)
    if config.flow_lm.insert_bos_before_voice:
        heard = np.concatenate([weights["flow_lm.bos_before_voice"], heard], axis=1)
    count, layers = heard.shape[1], config.flow_lm.transformer.num_layers
    feeds = initial_cache(config, 1, count) | {"embeddings": heard, "seqlens_k": np.array([count - 1], np.int32)}
    names = [f"present_{kind}{layer}" for kind in "kv" for layer in range(layers)]
    found = session(voice_graph(config, weights, count)).run(names, feeds | {"total_len": np.array([count], np.int32)})
    keys, values = np.concatenate(found[:layers]), np.concatenate(found[layers:])
    return keys[..., np.argsort(halves(keys.shape[-1]))], values


def ends_on_pause(samples: Float, rate_hz: int) -> Float:
    """Silence at the end is cut, and a short pause put there: the model was trained on recordings that end so."""
    size = round(_FRAME_S * rate_hz)
    power = np.square(samples[: len(samples) // size * size].reshape(-1, size), dtype=np.float64).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-24)
    end = (int(np.flatnonzero(level_db > level_db.max() - _FLOOR_DB)[-1]) + 1) * size
    kept, fade = samples[:end].copy(), round(_FADE_S * rate_hz)
    kept[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.concatenate([kept, np.zeros(round(_PAUSE_S * rate_hz), np.float32)])


def encoder_graph(config: Config, weights: Weights, steps: int) -> onnx.ModelProto:
    """samples [1, S], S a multiple of a frame's -> embeddings [1, F, width of the speech model]"""
    codec, graph = config.mimi, Layers(half=False)
    mimi = {name.removeprefix("mimi."): value for name, value in weights.items() if name.startswith("mimi.")}
    if "encoder.model.0.conv.weight" not in mimi or not mimi["encoder.model.0.conv.weight"].any():
        raise CheckpointError(
            "these weights hold no voice encoder: take those of hf://kyutai/pocket-tts, once its terms are accepted"
        )
    graph.input("samples", TensorProto.FLOAT, [1, "S"])
    graph.input("position", TensorProto.INT64, [1])
    x = _seanet(graph, codec.seanet, mimi, graph.node("Unsqueeze", ["samples", graph.constant("channel", 1)], "wave"))
    x = graph.node("Transpose", [x], "by_step", perm=[0, 2, 1])
    x = transformer(graph, codec.transformer, mimi, x, steps, "encoder_transformer")
    x = graph.node("Transpose", [x], "by_channel", perm=[0, 2, 1])
    weight = mimi["downsample.conv.conv.weight"]
    stride = weight.shape[2] // 2
    before = graph.exact("before", np.array([0, 0, stride, 0, 0, 0]))
    x = graph.node("Pad", [x, before], "padded", mode="edge")
    x = graph.node("Conv", [x, graph.exact("downsample", weight)], "frames", strides=[stride])
    x = graph.node("Transpose", [x], "latents", perm=[0, 2, 1])
    projection = np.ascontiguousarray(weights["flow_lm.speaker_proj_weight"].T)
    graph.node("MatMul", [x, graph.exact("speaker", projection)], "embeddings")
    graph.output("embeddings", TensorProto.FLOAT, [1, "F", projection.shape[1]])
    return graph.model("encoder")


def _seanet(graph: Layers, seanet: Seanet, mimi: Weights, x: str) -> str:
    def convolution(x: str, at: str, stride: int = 1) -> str:
        weight = mimi[f"encoder.model.{at}.conv.weight"]
        inputs = [
            x,
            graph.exact(f"{at}.weight", weight),
            graph.exact(f"{at}.bias", mimi[f"encoder.model.{at}.conv.bias"]),
        ]
        return graph.node("Conv", inputs, f"{at}.out", strides=[stride], pads=[weight.shape[2] - stride, 0])

    def elu(x: str) -> str:
        return graph.node("Elu", [x], f"{x}.elu", alpha=1.0)

    x = convolution(x, "0")
    for index, ratio in enumerate(reversed(seanet.ratios)):
        at = f"{3 * index + 1}.block"
        inner = convolution(elu(convolution(elu(x), f"{at}.1")), f"{at}.3")
        x = graph.node("Add", [x, inner], f"{at}.sum")
        x = convolution(elu(x), str(3 * index + 3), ratio)
    return convolution(elu(x), str(3 * len(seanet.ratios) + 2))


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
