"""Part 9: continuous batching of transformers on the talker's backbone, random weights, where it is installed.

A peer to compare with: same layers, same vocabulary of 3072 codes, prompts of 64 tokens, a fixed number of new tokens,
all requests at once. The predictor and the vocoder are not in it, so it is read against the talker of part 8.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from itertools import pairwise
from typing import Any

from tests.gpu_check.report import Table, short
from tests.gpu_check.setting import Setting, Skipped
from tests.gpu_check.shapes import TALKERS, DecoderShape

PROMPT_TOKENS, NEW_TOKENS = 64, 128
BATCHES = (64, 1, 128, 16)  # the telling ones first


def run_peer(setting: Setting, table: Table) -> None:
    try:
        import torch
        import transformers
    except ModuleNotFoundError as error:
        raise Skipped(f"{error.name} is not installed") from error
    setting.timed_device()
    if not torch.cuda.is_available():
        raise Skipped(f"torch {torch.__version__} sees no CUDA device")
    if not hasattr(transformers.Qwen3ForCausalLM, "generate_batch"):
        raise Skipped(f"transformers {transformers.__version__} has no continuous batching")
    table.note(f"transformers {transformers.__version__}, its own defaults, greedy picks")
    for shape in TALKERS:
        model = _build(torch, transformers, shape)
        for rows in BATCHES:
            if not setting.has_time(15):
                table.note(f"out of time before {shape.name}, batch {rows}")
                return
            _measure(setting, table, torch, transformers, model, shape, rows)


def _build(torch: Any, transformers: Any, shape: DecoderShape) -> Any:
    config = transformers.Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=4096,
        attn_implementation="sdpa",
    )
    with torch.device("cuda"):
        model = transformers.Qwen3ForCausalLM(config)
    return model.to(torch.bfloat16).eval()


def _measure(
    setting: Setting, table: Table, torch: Any, transformers: Any, model: Any, shape: DecoderShape, rows: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, shape.vocab, (rows, PROMPT_TOKENS), generator=generator).tolist()
    wanted = transformers.GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)

    def generate() -> tuple[float, Any]:
        gc.collect()
        torch.cuda.empty_cache()  # it takes most of the free memory, and a run before may still hold that
        started = time.perf_counter()
        done = model.generate_batch(inputs=inputs, generation_config=wanted, record_timestamps=True)
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
    gaps_ms, new_tokens = _gaps_ms(done), sum(len(output.generated_tokens) for output in done.values())
    if new_tokens < rows * NEW_TOKENS:  # its threads tell their faults to the log alone
        note = f"refused: {new_tokens} of {rows * NEW_TOKENS} tokens came"
    table.row(
        model=shape.name,
        batch=rows,
        new_tokens=new_tokens,
        first_run_s=first_s,
        seconds=seconds,
        gap_median_ms=statistics.median(gaps_ms) if gaps_ms else None,
        gap_p99_ms=sorted(gaps_ms)[max(0, math.ceil(0.99 * len(gaps_ms)) - 1)] if gaps_ms else None,
        note=note,
    )


def _gaps_ms(done: Any) -> list[float]:
    """Between a request's tokens; `seconds` also holds the start and the prompts."""
    gaps = []
    for output in done.values():
        stamps = getattr(output, "timestamps", None) or []
        gaps += [1e3 * (later - earlier) for earlier, later in pairwise(stamps)]
    return gaps
