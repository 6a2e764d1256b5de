"""The shapes that are measured, and the bytes each one must move.

Weights are random: time depends on shapes alone. The figures of Qwen3-TTS-12Hz are those of its public configuration;
the tiny twin keeps every structural trait (grouped heads, a projection between the two widths) and runs on any CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

BF16_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderShape:
    """A Qwen3 decoder: grouped attention with normed queries and keys, rotary positions, SwiGLU."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    rope_theta: float = 1e6
    norm_epsilon: float = 1e-6

    @property
    def group(self) -> int:
        return self.heads // self.kv_heads

    @property
    def layer_parameters(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def weight_bytes(self) -> int:
        return self.layers * self.layer_parameters * BF16_BYTES

    @property
    def kv_bytes_per_position(self) -> int:
        return self.layers * 2 * self.kv_heads * self.head_dim * BF16_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameShape:
    """One codec frame: a talker step, then one predictor step for each further codebook."""

    name: str
    talker: DecoderShape
    predictor: DecoderShape
    talker_vocab: int
    predictor_vocab: int
    codebooks: int
    suppressed: int  # last ids of the talker's vocabulary that may not be sampled, bar the end of speech
    end_id: int
    top_k: int = 50

    @property
    def predictor_steps(self) -> int:
        return self.codebooks - 1

    @property
    def talker_bytes(self) -> int:
        return self.talker.weight_bytes + self.talker_vocab * self.talker.hidden * BF16_BYTES

    @property
    def predictor_bytes(self) -> int:
        """All steps of a frame: its weights do not stay in the cache of the chip from one step to the next."""
        head_bytes = self.predictor_vocab * self.predictor.hidden * BF16_BYTES
        return self.predictor_steps * (self.predictor.weight_bytes + head_bytes)

    def frame_bytes(self, rows: int, context: int) -> int:
        """Weights once and every row's keys and values once."""
        return self.talker_bytes + self.predictor_bytes + rows * context * self.talker.kv_bytes_per_position


@dataclass(frozen=True, slots=True, kw_only=True)
class VocoderShape:
    """The causal 12.5 Hz codec decoder: codes of a frame in, `hop_length` samples out."""

    codebooks: int = 16
    codebook_size: int = 2048
    code_dim: int = 256
    quantizer_dim: int = 512
    latent: int = 1024
    width: int = 512
    layers: int = 8
    heads: int = 16
    head_dim: int = 64
    intermediate: int = 1024
    window: int = 72
    upsample_stages: int = 2
    channels: int = 1536
    rates: tuple[int, ...] = (8, 5, 4, 3)
    dilations: tuple[int, ...] = (1, 3, 9)

    @property
    def hop_length(self) -> int:
        hop = 2**self.upsample_stages
        for rate in self.rates:
            hop *= rate
        return hop


_PREDICTOR = DecoderShape(layers=5, hidden=1024, heads=16, kv_heads=8, head_dim=128, intermediate=3072)


def _qwen(name: str, hidden: int, intermediate: int) -> FrameShape:
    talker = DecoderShape(layers=28, hidden=hidden, heads=16, kv_heads=8, head_dim=128, intermediate=intermediate)
    return FrameShape(
        name=name,
        talker=talker,
        predictor=_PREDICTOR,
        talker_vocab=3072,
        predictor_vocab=2048,
        codebooks=16,
        suppressed=1024,
        end_id=2150,
    )


QWEN_0_6B = _qwen("Qwen3-TTS 0.6B", 1024, 3072)
QWEN_1_7B = _qwen("Qwen3-TTS 1.7B", 2048, 6144)
TINY = FrameShape(
    name="tiny",
    talker=DecoderShape(layers=2, hidden=48, heads=4, kv_heads=2, head_dim=16, intermediate=64),
    predictor=DecoderShape(layers=1, hidden=32, heads=4, kv_heads=2, head_dim=16, intermediate=48),
    talker_vocab=96,
    predictor_vocab=64,
    codebooks=4,
    suppressed=32,
    end_id=70,
    top_k=8,
)
QWEN_VOCODER = VocoderShape()
TINY_VOCODER = VocoderShape(
    codebooks=4,
    codebook_size=32,
    code_dim=8,
    quantizer_dim=16,
    latent=24,
    width=16,
    layers=2,
    heads=2,
    head_dim=8,
    intermediate=24,
    window=5,
    channels=32,
    rates=(3, 2),
)
