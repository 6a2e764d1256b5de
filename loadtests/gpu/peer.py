"""Part 6: continuous batching of transformers on the talker's backbone, random weights, where it is installed.

A peer to compare with: same layers, same vocabulary of 3072 codes, prompts of 64 tokens, a fixed number of new tokens,
all requests at once. The predictor and the vocoder are not in it, so it is read against part 4 at S = 1.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from itertools import pairwise
from typing import Any

import torch

from loadtests.gpu.report import Table, short
from loadtests.gpu.setting import Setting, Skipped
from loadtests.gpu.shapes import QWEN_0_6B, QWEN_1_7B, TINY, FrameShape

PROMPT_TOKENS, NEW_TOKENS = 64, 128
TINY_PROMPT_TOKENS, TINY_NEW_TOKENS = 4, 6
BATCHES = (64, 1, 128, 16)  # the telling ones first
TINY_BATCHES = (2,)


def run_peer(setting: Setting, table: Table) -> None:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise Skipped(f"{error.name} is not installed") from error
    if not hasattr(transformers.Qwen3ForCausalLM, "generate_batch"):
        raise Skipped(f"transformers {transformers.__version__} has no continuous batching")
    if setting.is_tiny and not hasattr(transformers, "ContinuousBatchingConfig"):
        raise Skipped(f"transformers {transformers.__version__} offers no way to keep its cache small on this machine")
    table.note(f"transformers {transformers.__version__}, its own defaults, greedy picks")
    for shape in (TINY,) if setting.is_tiny else (QWEN_1_7B, QWEN_0_6B):
        model = _build(transformers, setting, shape)
        for rows in TINY_BATCHES if setting.is_tiny else BATCHES:
            if not setting.has_time(15):
                table.note(f"out of time before {shape.name}, batch {rows}")
                return
            _measure(setting, table, transformers, model, shape, rows)


def _build(transformers: Any, setting: Setting, shape: FrameShape) -> Any:
    talker = shape.talker
    config = transformers.Qwen3Config(
        vocab_size=shape.talker_vocab,
        hidden_size=talker.hidden,
        intermediate_size=talker.intermediate,
        num_hidden_layers=talker.layers,
        num_attention_heads=talker.heads,
        num_key_value_heads=talker.kv_heads,
        head_dim=talker.head_dim,
        max_position_embeddings=4096,
        attn_implementation="sdpa",
    )
    dtype = torch.bfloat16 if setting.is_cuda else torch.float32
    with torch.device(setting.device):
        model = transformers.Qwen3ForCausalLM(config)
    return model.to(dtype).eval()


def _measure(setting: Setting, table: Table, transformers: Any, model: Any, shape: FrameShape, rows: int) -> None:
    prompt, new = (TINY_PROMPT_TOKENS, TINY_NEW_TOKENS) if setting.is_tiny else (PROMPT_TOKENS, NEW_TOKENS)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, shape.talker_vocab, (rows, prompt), generator=generator).tolist()
    wanted = transformers.GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)

    more: dict[str, Any] = {"record_timestamps": True}
    if setting.is_tiny:  # its defaults would take a server's memory
        more["continuous_batching_config"] = transformers.ContinuousBatchingConfig(
            block_size=32, num_blocks=16, max_batch_tokens=64
        )

    def generate() -> tuple[float, Any]:
        _free(setting)
        started = time.perf_counter()
        done = model.generate_batch(inputs=inputs, generation_config=wanted, **more)
        return time.perf_counter() - started, done

    seconds = note = None
    try:
        first_s, done = generate()
    except Exception as error:  # a peer that cannot is a result
        table.row(model=shape.name, batch=rows, note=f"refused: {type(error).__name__}: {short(error)}")
        return
    if setting.has_time(1.5 * first_s):
        try:
            seconds, done = generate()
        except Exception as error:
            note = f"second run: {type(error).__name__}: {short(error)}"
    made = sum(len(output.generated_tokens) for output in done.values())
    gaps_ms = _gaps_ms(done)
    table.row(
        model=shape.name, batch=rows, new_tokens=made, first_run_s=first_s, seconds=seconds,
        gap_median_ms=statistics.median(gaps_ms) if gaps_ms else None,
        gap_p99_ms=sorted(gaps_ms)[max(0, math.ceil(0.99 * len(gaps_ms)) - 1)] if gaps_ms else None,
        note=note,
    )  # fmt: skip


def _free(setting: Setting) -> None:
    """It takes most of the free memory for its cache, and a run before may still hold that."""
    gc.collect()
    if setting.is_cuda:
        torch.cuda.empty_cache()


def _gaps_ms(done: Any) -> list[float]:
    """Between a request's tokens; `seconds` also holds the start and the prompts."""
    gaps = []
    for output in done.values():
        stamps = getattr(output, "timestamps", None) or []
        gaps += [1e3 * (later - earlier) for earlier, later in pairwise(stamps)]
    return gaps
