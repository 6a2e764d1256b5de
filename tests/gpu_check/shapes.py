"""Published sizes of Qwen3-TTS' decoders, which parts 7 to 9 share: only sizes, no weights."""

from __future__ import annotations

from dataclasses import dataclass

PREDICTOR_STEPS = 15  # codebooks behind the first one, a frame


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderShape:
    name: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int = 3072

    def bytes_per_step(self, rows: int, held: int) -> int:
        """Weights once and the rows' caches, two bytes a value."""
        heads = self.heads + self.kv_heads
        weights = self.layers * (2 * self.width * heads * self.head_dim + 3 * self.width * self.inner)
        return 2 * (weights + 2 * rows * held * self.layers * self.kv_heads * self.head_dim)


TINY = DecoderShape(name="tiny", layers=2, width=256, inner=256, heads=4, kv_heads=2, head_dim=64, vocab=96)
PREDICTOR = DecoderShape(
    name="predictor", layers=5, width=1024, inner=3072, heads=16, kv_heads=8, head_dim=128, vocab=2048
)
TALKERS = (
    DecoderShape(name="talker 0.6B", layers=28, width=1024, inner=3072, heads=16, kv_heads=8, head_dim=128),
    DecoderShape(name="talker 1.7B", layers=28, width=2048, inner=6144, heads=16, kv_heads=8, head_dim=128),
)
