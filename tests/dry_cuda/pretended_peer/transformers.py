"""As much of transformers as part 9 asks for: a token a millisecond by its own stamps, and batches of 128 refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

__version__ = "pretended"
Qwen3Config = GenerationConfig = SimpleNamespace


class Qwen3ForCausalLM:
    def __init__(self, config: Any) -> None:
        assert config.num_hidden_layers > 0

    def to(self, kind: str) -> Qwen3ForCausalLM:
        return self

    def eval(self) -> Qwen3ForCausalLM:
        return self

    def generate_batch(
        self, *, inputs: list[list[int]], generation_config: Any, record_timestamps: bool
    ) -> dict[int, SimpleNamespace]:
        if len(inputs) == 128:
            raise RuntimeError("no memory for so many")
        tokens = generation_config.max_new_tokens
        stamps = [at / 1000 for at in range(tokens)] if record_timestamps else None
        return {at: SimpleNamespace(generated_tokens=[1] * tokens, timestamps=stamps) for at in range(len(inputs))}
