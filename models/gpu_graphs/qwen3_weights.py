"""What the GPU form of Qwen3-TTS needs of a bundle: plain float arrays read from the bundle's own step graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from engines.families.qwen3_tts.bundle import Bundle
from models.gpu_graphs.attention import Heads
from models.gpu_graphs.weights import multiplied_out

Array = NDArray[Any]
_SLICE = 4096  # rows of the text table that are projected at once


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    packed: Array  # query, key and value [width, (heads + 2 * kv_heads) * head_dim]
    query_norm: Array
    key_norm: Array
    out: Array
    mlp_norm: Array
    gate: Array
    up: Array
    down: Array
    next_norm: Array  # before the next layer, or behind the last


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeights:
    norm_in: Array
    layers: tuple[LayerWeights, ...]
    heads: Heads
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Weights:
    talker: BlockWeights
    predictor: BlockWeights
    text_table: Array  # [ids, width]: projected, as a step reads them
    frame_table: Array  # see `TalkerPart`
    codec_head: Array  # [width, vocabulary]
    inner_table: Array  # the frame table as the predictor reads it
    inner_heads: tuple[Array, ...]
    projection: tuple[Array, Array] | None  # of the talker's hidden state, where widths differ
    cosine: Array  # [positions, head_dim / 2]
    sine: Array
    inner_cosine: Array
    inner_sine: Array
    refusals: Array  # [2, vocabulary] float32: what is added to logits where the end may not come, and where it may
    starts: NDArray[np.int64]  # [Q]: see `TalkerPart`
    most_likely: int

    @property
    def codebooks(self) -> int:
        return len(self.starts)

    @property
    def vocabulary(self) -> int:
        return int(self.codec_head.shape[1])

    @property
    def inner_width(self) -> int:
        return int(self.inner_table.shape[1])

    def inner_rows(self, codebook: int) -> Array:
        """Of the predictor's table: the codes of one codebook."""
        start = int(self.starts[codebook])
        following = [*self.starts.tolist()[1:], len(self.inner_table) - 1][codebook]
        return self.inner_table[start:following]

    @classmethod
    def of(cls, bundle: Bundle) -> Qwen3Weights:
        part, stored = bundle.qwen3_tts.talker, _Stored(bundle.folder / bundle.qwen3_tts.talker.step)
        frame_table = stored.plain("frame_table")
        at = "code_predictor.small_to_mtp_projection"
        apart = stored.has(at)
        projection = (stored.plain(at), stored.plain(f"{at}.bias")) if apart else None
        refusals = np.zeros((2, part.vocabulary), np.float32)
        refusals[:, part.codes :] = -np.inf
        refusals[1, bundle.qwen3_tts.codec.end] = 0
        return cls(
            talker=stored.blocks("model.", part.kv_heads, part.head_dim),
            predictor=stored.blocks("code_predictor.model.", None, None),
            text_table=stored.text_table(),
            frame_table=frame_table,
            codec_head=stored.plain("codec_head"),
            inner_table=stored.plain("predictor_table") if apart else frame_table,
            inner_heads=tuple(stored.plain(f"code_predictor.lm_head.{q}") for q in range(part.codebooks - 1)),
            projection=projection,
            cosine=stored.plain("talker.cosine"),
            sine=stored.plain("talker.sine"),
            inner_cosine=stored.plain("predictor.cosine"),
            inner_sine=stored.plain("predictor.sine"),
            refusals=refusals,
            starts=part.starts,
            most_likely=part.most_likely,
        )


class _Stored:
    """Constants of a graph that `models.exporting.qwen3_tts` wrote, by the names that it gives."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        graph = onnx.load(path, load_external_data=False).graph
        self._constants = {one.name: one for one in graph.initializer}
        self._nodes = list(graph.node)

    def has(self, name: str) -> bool:
        return any(f"{name}{end}" in self._constants for end in ("", ".bf16", ".f32", ".int8"))

    def array(self, name: str) -> Array:
        return numpy_helper.to_array(self._constants[name], str(self._folder))

    def plain(self, name: str) -> Array:
        """float32, however it is stored."""
        if f"{name}.int8" in self._constants:
            return multiplied_out(*(self.array(f"{name}.{part}") for part in ("int8", "scales", "zeros")))
        found = next(f"{name}{end}" for end in ("", ".bf16", ".f32") if f"{name}{end}" in self._constants)
        return self.array(found).astype(np.float32)

    def text_table(self) -> Array:
        """Each id's vector through the projection."""
        first, second = "text_projection.linear_fc1", "text_projection.linear_fc2"
        weights = [self.plain(name) for name in (first, f"{first}.bias", second, f"{second}.bias")]
        table = self.plain("model.text_embedding")
        parts = []
        for start in range(0, len(table), _SLICE):
            hidden = table[start : start + _SLICE] @ weights[0] + weights[1]
            hidden *= 1 / (1 + np.exp(-hidden))
            parts.append(hidden @ weights[2] + weights[3])
        return np.concatenate(parts)

    def blocks(self, at: str, kv_heads: int | None, head_dim: int | None) -> BlockWeights:
        """Heads of keys and values are the same in both stacks unless given."""
        count = 0
        while self.has(f"{at}layers.{count}.qkv"):
            count += 1
        norm = next(one for one in self._nodes if one.output[0] in (f"{at}layers.0.n1", f"{at}layers.0.call1.n1"))
        epsilon = next(one.f for one in norm.attribute if one.name == "epsilon")
        dim = head_dim or len(self.plain(f"{at}layers.0.self_attn.q_norm"))
        heads = len(self.plain(f"{at}layers.0.o")) // dim
        packed = self.plain(f"{at}layers.0.qkv").shape[1] // dim
        norms = [self.plain(f"{at}layers.{layer}.input_layernorm") for layer in range(count)]
        norms.append(self.plain(f"{at}norm"))
        assert kv_heads in (None, (packed - heads) // 2), "the manifest has other heads than the graph"
        return BlockWeights(
            norm_in=norms[0],
            layers=tuple(self._layer(f"{at}layers.{layer}.", norms[layer + 1]) for layer in range(count)),
            heads=Heads(heads=heads, kv_heads=(packed - heads) // 2, head_dim=dim, epsilon=epsilon),
            epsilon=epsilon,
        )

    def _layer(self, at: str, next_norm: Array) -> LayerWeights:
        gate, up = np.split(self.plain(f"{at}gate_up"), 2, axis=1)
        return LayerWeights(
            packed=self.plain(f"{at}qkv"),
            query_norm=self.plain(f"{at}self_attn.q_norm"),
            key_norm=self.plain(f"{at}self_attn.k_norm"),
            out=self.plain(f"{at}o"),
            mlp_norm=self.plain(f"{at}post_attention_layernorm"),
            gate=gate,
            up=up,
            down=self.plain(f"{at}down"),
            next_norm=next_norm,
        )
