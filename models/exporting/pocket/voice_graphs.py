"""What makes a voice of a recording, as three graphs: only the second keeps state, since only it looks far back.

hears    samples [1, S]                              -> steps [1, T, dimension]
follows  steps [1, T, dimension], position [1]       -> followed [1, T, dimension]
voice    followed [1, T, dimension], places, cache   -> keys and values of the speech model
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto

from engines.families.common.recordings import MAX_S
from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import Config, Seanet
from models.checkpoints.pocket.weights import Weights
from models.exporting.pocket import speech_lm
from models.exporting.pocket.decoder import transformer
from models.exporting.pocket.layers import Layers

_PAUSE_S = 1.0  # and more than is put behind a recording


def opening(config: Config) -> int:
    """Positions before those of the recording."""
    return int(config.flow_lm.insert_bos_before_voice)


def most_positions(config: Config) -> int:
    """Of the longest recording."""
    return math.ceil((MAX_S + _PAUSE_S) * config.mimi.frame_rate) + opening(config)


def voice_graphs(config: Config, weights: Weights, *, half: bool) -> dict[str, onnx.ModelProto]:
    """In the order in which they run. Raises CheckpointError for weights that cannot hear."""
    mimi = {name.removeprefix("mimi."): value for name, value in weights.items() if name.startswith("mimi.")}
    if "encoder.model.0.conv.weight" not in mimi or not mimi["encoder.model.0.conv.weight"].any():
        raise CheckpointError(
            "these weights hold no voice encoder: take those of hf://kyutai/pocket-tts, once its terms are accepted"
        )
    return {
        "hears": _hears(config.mimi.seanet, mimi, Layers(half)),
        "follows": _follows(config, mimi, Layers(half)),
        "voice": _voice(config, weights, Layers(half)),
    }


def _hears(seanet: Seanet, mimi: Weights, graph: Layers) -> onnx.ModelProto:
    graph.input("samples", TensorProto.FLOAT, [1, "S"])
    x = _seanet(graph, seanet, mimi, graph.node("Unsqueeze", ["samples", graph.constant("channel", 1)], "wave"))
    graph.node("Transpose", [x], "steps", perm=[0, 2, 1])
    graph.output("steps", TensorProto.FLOAT, [1, "T", seanet.dimension])
    return graph.model("hears")


def _follows(config: Config, mimi: Weights, graph: Layers) -> onnx.ModelProto:
    codec, width = config.mimi, config.mimi.seanet.dimension
    graph.input("steps", TensorProto.FLOAT, [1, "T", width])
    graph.input("position", TensorProto.INT64, [1])
    most = most_positions(config) * codec.hop // codec.seanet.hop
    x = transformer(graph, codec.transformer, mimi, "steps", most, "encoder_transformer")
    graph.node("Identity", [x], "followed")
    graph.output("followed", TensorProto.FLOAT, [1, "T", width])
    return graph.model("follows")


def _voice(config: Config, weights: Weights, graph: Layers) -> onnx.ModelProto:
    lm, width = speech_lm.part_of(weights, "flow_lm."), config.flow_lm.transformer.d_model
    graph.input("followed", TensorProto.FLOAT, [1, "T", config.mimi.seanet.dimension])
    x = graph.node("Transpose", ["followed"], "by_channel", perm=[0, 2, 1])
    weight = weights["mimi.downsample.conv.conv.weight"]
    stride = weight.shape[2] // 2
    before = graph.exact("before", np.array([0, 0, stride, 0, 0, 0]))
    x = graph.node("Pad", [x, before], "padded", mode="edge")
    x = graph.node("Conv", [x, graph.weight("downsample", weight)], "frames", strides=[stride])
    x = graph.node("Transpose", [x], "latents", perm=[0, 2, 1])
    projection = np.ascontiguousarray(lm["speaker_proj_weight"].T)
    x = graph.node("MatMul", [x, graph.weight("speaker", projection)], "heard")
    if opening(config):
        x = graph.node("Concat", [graph.exact("opening", lm["bos_before_voice"]), x], "opened", axis=1)
    graph.node("Shape", [x], "rows", start=0, end=2)
    x = graph.node("Reshape", [x, graph.constant("flat", -1, width)], "embedded")
    speech_lm.transformer(graph, config, lm, x, most_positions(config))
    return graph.model("voice")


def _seanet(graph: Layers, seanet: Seanet, mimi: Weights, x: str) -> str:
    def convolution(x: str, at: str, stride: int = 1) -> str:
        weight = mimi[f"encoder.model.{at}.conv.weight"]
        inputs = [
            x,
            graph.weight(f"{at}.weight", weight),
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
