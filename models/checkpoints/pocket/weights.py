"""The weights of a pocket-tts model: every tensor that its configuration calls for, and no other.

Names and shapes are worked out from the configuration, so a file of another model is refused by the first tensor that
does not fit, before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.checkpoints.errors import CheckpointError
from models.checkpoints.pocket.config import CodecTransformer, Config, Flow, Seanet
from models.checkpoints.safetensors import Tensors

Shape = tuple[int, ...]
Weights = dict[str, NDArray[np.float32]]
_TIMES = {"lsd": 2, "drifting": 0, "pointwise": 0}  # time conditions of a flow head
_TIME_WAVES = 128
SPOKEN = ("flow_lm.", "mimi.decoder", "mimi.quantizer", "mimi.upsample")  # what speaks; the rest encodes voices


def shapes(config: Config) -> dict[str, Shape]:
    """Every tensor of a model, by name."""
    return dict(_shapes(config))


def read_weights(folder: Path, config: Config, *, hears: bool = False) -> Weights:
    """The tensors that speak, as float32; with `hears` those that encode a voice too.

    Raises CheckpointError on a missing, unknown, misshapen or broken one."""
    tensors, wanted = Tensors.open(folder), shapes(config)
    tensors.check(wanted)
    weights = {name: tensors.read(name).numpy() for name in wanted if hears or name.startswith(SPOKEN)}
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise CheckpointError(f"{name} holds a value that is not finite: the file is broken")
    return weights


def _shapes(config: Config) -> Iterator[tuple[str, Shape]]:
    lm, codec = config.flow_lm, config.mimi
    backbone, width, frame = lm.transformer, lm.transformer.d_model, config.frame_width
    table = lm.lookup_table
    yield "flow_lm.bos_emb", (frame,)
    if lm.insert_bos_before_voice:
        yield "flow_lm.bos_before_voice", (1, 1, width)
    yield "flow_lm.speaker_proj_weight", (width, codec.inner_dim or codec.seanet.dimension)
    yield "flow_lm.emb_std", (frame,)
    yield "flow_lm.emb_mean", (frame,)
    yield "flow_lm.conditioner.embed.weight", (table.n_bins + 1, table.rank or width)
    if table.rank:
        yield "flow_lm.conditioner.proj.weight", (width, table.rank)
    yield "flow_lm.input_linear.weight", (width, frame)
    heads = backbone.attention + 2 * backbone.kv_heads * backbone.head_dim
    for layer in range(backbone.num_layers):
        at = f"flow_lm.transformer.layers.{layer}."
        yield from _layer(at, width, heads, backbone.attention, backbone.feed_forward)
    yield from _norm("flow_lm.out_norm", width)
    if lm.z_dim:
        yield "flow_lm.z_proj.weight", (lm.z_dim, width)
    yield from _linear("flow_lm.out_eos", lm.z_dim or width, 1)
    yield from _flow(lm.flow, frame, lm.z_dim or width)
    yield from _encoder(codec.seanet)
    yield from _decoder(codec.decoder)
    yield from _codec_layers("mimi.encoder_transformer", codec.transformer)
    yield from _codec_layers("mimi.decoder_transformer", codec.decoder_layers)
    yield "mimi.quantizer.output_proj.weight", (codec.quantizer.output_dimension, frame, 1)
    inner, step = codec.inner_dim or codec.seanet.dimension, 2 * codec.hop // codec.seanet.hop
    yield "mimi.downsample.conv.conv.weight", (inner, codec.seanet.dimension, step)
    yield "mimi.upsample.convtr.convtr.weight", (codec.decoder.dimension, 1, 2 * codec.upsampling)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _layer(at: str, width: int, heads: int, attention: int, hidden: int) -> Iterator[tuple[str, Shape]]:
    yield f"{at}self_attn.in_proj.weight", (heads, width)
    yield f"{at}self_attn.out_proj.weight", (width, attention)
    yield from _norm(f"{at}norm1", width)
    yield from _norm(f"{at}norm2", width)
    yield f"{at}linear1.weight", (hidden, width)
    yield f"{at}linear2.weight", (width, hidden)


def _flow(flow: Flow, frame: int, condition: int) -> Iterator[tuple[str, Shape]]:
    at, width = "flow_lm.flow_net", flow.dim
    for time in range(_TIMES[flow.type]):
        embed = f"{at}.time_embed.{time}"
        yield f"{embed}.freqs", (_TIME_WAVES,)
        yield from _linear(f"{embed}.mlp.0", 2 * _TIME_WAVES, width)
        yield from _linear(f"{embed}.mlp.2", width, width)
        yield f"{embed}.mlp.3.alpha", (width,)
    yield from _linear(f"{at}.cond_embed", condition, width)
    yield from _linear(f"{at}.input_proj", frame, width)
    for block in range(flow.depth):
        yield from _norm(f"{at}.res_blocks.{block}.in_ln", width)
        yield from _linear(f"{at}.res_blocks.{block}.mlp.0", width, width)
        yield from _linear(f"{at}.res_blocks.{block}.mlp.2", width, width)
        yield from _linear(f"{at}.res_blocks.{block}.adaLN_modulation.1", width, 3 * width)
    yield from _linear(f"{at}.final_layer.linear", width, frame)
    yield from _linear(f"{at}.final_layer.adaLN_modulation.1", width, 2 * width)


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, kernel)
    yield f"{name}.bias", (outputs,)


def _residual(at: str, width: int, seanet: Seanet) -> Iterator[tuple[str, Shape]]:
    yield from _conv(f"{at}.block.1.conv", width, width // seanet.compress, seanet.residual_kernel_size)
    yield from _conv(f"{at}.block.3.conv", width // seanet.compress, width, 1)


def _encoder(seanet: Seanet) -> Iterator[tuple[str, Shape]]:
    at, width = "mimi.encoder.model", seanet.n_filters
    yield from _conv(f"{at}.0.conv", 1, width, seanet.kernel_size)
    for index, ratio in enumerate(reversed(seanet.ratios)):
        yield from _residual(f"{at}.{3 * index + 1}", width, seanet)
        yield from _conv(f"{at}.{3 * index + 3}.conv", width, 2 * width, 2 * ratio)
        width *= 2
    last = 3 * len(seanet.ratios) + 2
    yield from _conv(f"{at}.{last}.conv", width, seanet.dimension, seanet.last_kernel_size)


def _decoder(seanet: Seanet) -> Iterator[tuple[str, Shape]]:
    at, width = "mimi.decoder.model", seanet.widest
    yield from _conv(f"{at}.0.conv", seanet.dimension, width, seanet.kernel_size)
    for index, ratio in enumerate(seanet.ratios):
        name = f"{at}.{3 * index + 2}.convtr"
        yield f"{name}.weight", (width, width // 2, 2 * ratio)
        yield f"{name}.bias", (width // 2,)
        width //= 2
        yield from _residual(f"{at}.{3 * index + 3}", width, seanet)
    last = 3 * len(seanet.ratios) + 2
    yield from _conv(f"{at}.{last}.conv", width, 1, seanet.last_kernel_size)


def _codec_layers(at: str, layers: CodecTransformer) -> Iterator[tuple[str, Shape]]:
    width = layers.d_model
    for layer in range(layers.num_layers):
        name = f"{at}.transformer.layers.{layer}."
        yield from _layer(name, width, 3 * width, width, layers.dim_feedforward)
        yield f"{name}layer_scale_1.scale", (width,)
        yield f"{name}layer_scale_2.scale", (width,)
