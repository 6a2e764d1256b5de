"""A bundle's graphs as plain float arrays: what is stored as int8 is multiplied out, what is stored as half widened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from engines.errors import BundleError
from engines.families.phone_pointer.bundle import Bundle
from engines.runtime.kernels import DOMAIN
from models.creak import CREAK

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """One ONNX file: its constants by name, and its nodes."""

    arrays: dict[str, Array]
    nodes: list[onnx.NodeProto]

    @classmethod
    def load(cls, path: Path) -> Stored:
        graph = onnx.load(path).graph
        return cls({one.name: numpy_helper.to_array(one) for one in graph.initializer}, list(graph.node))

    def plain(self, name: str) -> Array:
        """A constant in float32, whether it is stored as half or not."""
        return self.arrays[name if name in self.arrays else f"{name}.half"].astype(np.float32)

    def product(self, name: str) -> Array:
        """The right side [inputs, outputs] of an int8 product, multiplied out."""
        return multiplied_out(*(self.arrays[f"{name}.{part}"] for part in ("int8", "scale", "zero")))

    def calls(self, kind: str) -> Iterator[list[Array]]:
        """For each call of one of our operators, its constants in order."""
        for node in self.nodes:
            if (node.domain, node.op_type) == (DOMAIN, kind):
                yield [self.arrays[name] for name in node.input if name in self.arrays]

    def before_bias(self, bias: str) -> Array:
        """The right side of the product that this bias is added to."""
        added = next(node for node in self.nodes if node.op_type == "Add" and bias in node.input)
        product = next(node for node in self.nodes if added.input[0] in node.output)
        right = product.input[1]
        stored = next((node for node in self.nodes if right in node.output), None)
        if stored is not None and stored.op_type == "DequantizeLinear":
            return multiplied_out(*(self.arrays[name] for name in stored.input))
        return self.plain(right)


def multiplied_out(values: Array, scale: Array, zero: Array) -> Array:
    whole: Array = (values.astype(np.float32) - zero.astype(np.float32)) * scale
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LmLayer:
    packed: Array  # query, key and value [width, (heads + 2 * kv_heads) * head_dim]
    out: Array
    mlp_norm: Array
    gate_up: Array
    down: Array
    next_norm: Array  # before the next layer, or before the codes


@dataclass(frozen=True, slots=True, kw_only=True)
class LmWeights:
    table: Array  # all rows that a step adds up [rows, width]
    cosine: Array  # [positions, head_dim / 2]
    sine: Array
    norm_in: Array
    layers: tuple[LmLayer, ...]
    to_code: Array
    forecast: tuple[Array, Array, Array]  # first, second, scores
    head_dim: int
    heads: int
    features: int  # rows of the table that one step adds up, the last frame's first

    @property
    def num_codes(self) -> int:
        return int(self.to_code.shape[1])

    @classmethod
    def of(cls, bundle: Bundle) -> LmWeights:
        layers, head_dim = bundle.lm.layers, bundle.lm.head_dim
        if bundle.lm.kv_heads != 1:
            raise BundleError(f"the GPU form has one key and value head, {bundle.name!r} has {bundle.lm.kv_heads}")
        stored = Stored.load(bundle.folder / bundle.lm.file)
        heads = stored.product("blocks.0.out").shape[0] // head_dim
        packed = stored.product("blocks.1.qkv").shape[1]
        both = stored.product("blocks.0.qkv_and_forecast")
        return cls(
            table=np.concatenate([stored.plain("code_table"), stored.plain("other_tables")]),
            cosine=stored.plain("cosine"),
            sine=stored.plain("sine"),
            norm_in=stored.plain("norm_in"),
            layers=tuple(
                LmLayer(
                    packed=stored.product(f"blocks.{at}.qkv") if at else both[:, :packed],
                    out=stored.product(f"blocks.{at}.out"),
                    mlp_norm=stored.plain(f"blocks.{at}.mlp_norm"),
                    gate_up=stored.product(f"blocks.{at}.gate_up"),
                    down=stored.product(f"blocks.{at}.down"),
                    next_norm=stored.plain(f"blocks.{at}.next_norm"),
                )
                for at in range(layers)
            ),
            to_code=stored.product("to_code"),
            forecast=(
                both[:, packed:],
                stored.product("forecast.second.weight"),
                stored.product("forecast.halves.weight"),
            ),
            head_dim=head_dim,
            heads=heads,
            features=bundle.adapter.features,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A causal block of the vocoder: depthwise convolution, norm, expansion, contraction, scale."""

    taps: Array  # [channels, taps]
    taps_bias: Array
    norm: Array
    norm_bias: Array
    expand: Array
    expand_bias: Array
    contract: Array  # with the scale multiplied in
    contract_bias: Array

    @classmethod
    def of(cls, constants: list[Array]) -> Block:
        """From a call's constants: first tap, bias, the other taps, norm, two int8 products, scale."""
        first, taps_bias, *others = constants[:8]
        norm, norm_bias = constants[8:10]
        expand, expand_bias = multiplied_out(*constants[12:15]), constants[15]
        contract, contract_bias, scale = multiplied_out(*constants[18:21]), constants[21], constants[22]
        return cls(
            taps=np.stack([first, *others], axis=1),
            taps_bias=taps_bias,
            norm=norm,
            norm_bias=norm_bias,
            expand=expand,
            expand_bias=expand_bias,
            contract=contract * scale,
            contract_bias=contract_bias * scale,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderWeights:
    codes: Array  # what each code enters as [codes, channels]
    voices: Array  # [voices, channels]
    seen: Array | None  # [rows, channels]: what of the text enters beside a code, where the decoder sees it
    seen_columns: int  # rows of it that a code adds up
    coarse: tuple[Block, ...]
    fine: tuple[Block, ...]
    up: Array
    up_bias: Array
    heads: Array  # source (log F0, voicing) and filters of both excitations, side by side
    heads_bias: Array
    analysis: Array  # [window, 2 * bins]: the windowed transform of an excitation
    pulse: Array  # [points]: one pulse of the voiced excitation, from its first sample to its last
    creak_hz: Array | None  # [voices]: F0 below which each creaks, where the vocoder knows (`models.creak`)

    @classmethod
    def of(cls, bundle: Bundle) -> VocoderWeights:
        stored = Stored.load(bundle.folder / bundle.vocoder.file)
        blocks = [Block.of(constants) for constants in stored.calls("CausalBlock")]
        coarse = next(one.shape[0] for one in bundle.vocoder.states if one.name == "coarse")
        pulse, analysis = _tables(next(stored.calls("Frames")))
        return cls(
            codes=_entering(stored, bundle.codes.count),
            voices=_voices(stored),
            seen=stored.plain("seen.weight") if bundle.vocoder.sees_text else None,
            seen_columns=bundle.frame_width - 1,
            coarse=tuple(blocks[:coarse]),
            fine=tuple(blocks[coarse:]),
            up=stored.before_bias("up.bias"),
            up_bias=stored.plain("up.bias"),
            heads=np.concatenate([stored.before_bias(f"{name}.bias") for name in ("source", "filters")], 1),
            heads_bias=np.concatenate([stored.plain("source.bias"), stored.plain("filters.bias")]),
            analysis=analysis,
            pulse=pulse,
            creak_hz=stored.arrays.get(CREAK),
        )


def _tables(constants: list[Array]) -> tuple[Array, Array]:
    """The pulse and the analysis among the constants of the frames: the vectors, of which the pulse comes twice."""
    pulse = next(one for one in constants if one.ndim == 1 and one.size > 1)
    return pulse, next(one for one in constants if one.ndim == 2)


def _entering(stored: Stored, num_codes: int) -> Array:
    """Each code's digits, centred and scaled, through the first product."""
    levels = stored.arrays["quantiser.size"]
    places = np.concatenate([[1], np.cumprod(levels)[:-1]])
    digits = np.arange(num_codes)[:, None] // places % levels
    centred = ((digits - levels // 2) / (levels // 2)).astype(np.float32)
    whole: Array = centred @ stored.before_bias("enter.bias") + stored.plain("enter.bias")
    return whole


def _voices(stored: Stored) -> Array:
    """The vectors that `voices` weighs, in the order of the split."""
    split = next(node for node in stored.nodes if node.op_type == "Split" and node.input[0] == "voices")
    vectors = []
    for part in split.output:
        weighed = next(node for node in stored.nodes if node.op_type == "Mul" and part in node.input)
        vectors += [stored.plain(name) for name in weighed.input if name != part]
    return np.stack(vectors)
