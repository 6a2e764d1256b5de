"""Writes a llama-architecture model with random weights as a GGUF file; no weights are ever fetched.

The shape is counted here too, so that a table can name what was measured. Norms stay in float32, as llama.cpp wants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = ("f32", "bf16", "f16", "q8_0")
_BYTES_AND_SPECIALS = 259  # <unk>, <s>, </s> and one token per byte, which the tokenizer format wants


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder with grouped-query attention and a gated feed-forward network."""

    width: int = 512
    layers: int = 8
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 1248  # a multiple of 32, the block of q8_0
    vocabulary: int = 4096

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names as GGUF has them, shapes [out, in]."""
        yield "token_embd.weight", (self.vocabulary, self.width)
        yield "output_norm.weight", (self.width,)
        yield "output.weight", (self.vocabulary, self.width)
        for layer in range(self.layers):
            at = f"blk.{layer}."
            yield at + "attn_norm.weight", (self.width,)
            yield at + "attn_q.weight", (self.heads * self.head_dim, self.width)
            yield at + "attn_k.weight", (self.kv_heads * self.head_dim, self.width)
            yield at + "attn_v.weight", (self.kv_heads * self.head_dim, self.width)
            yield at + "attn_output.weight", (self.width, self.heads * self.head_dim)
            yield at + "ffn_norm.weight", (self.width,)
            yield at + "ffn_gate.weight", (self.hidden, self.width)
            yield at + "ffn_up.weight", (self.hidden, self.width)
            yield at + "ffn_down.weight", (self.width, self.hidden)

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for _, shape in self.tensors())


def write(path: Path, shape: Shape, weights: str) -> None:
    """`weights` is one of WEIGHTS."""
    import gguf  # only in the benchmark's own environment
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    kind = {"f32": kinds.F32, "bf16": kinds.BF16, "f16": kinds.F16, "q8_0": kinds.Q8_0}[weights]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(1024)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("llama")
    words = [f"w{index}".encode() for index in range(shape.vocabulary - _BYTES_AND_SPECIALS)]
    writer.add_token_list([b"<unk>", b"<s>", b"</s>", *[f"<0x{byte:02X}>".encode() for byte in range(256)], *words])
    writer.add_token_scores([0.0] * shape.vocabulary)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * len(words)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    rng = np.random.default_rng(0)
    for name, size in shape.tensors():
        if len(size) == 1:
            writer.add_tensor(name, np.ones(size, np.float32))
            continue
        values = (rng.standard_normal(size) / math.sqrt(size[1])).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
