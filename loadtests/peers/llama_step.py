"""Times decode steps of llama.cpp: a worker with the same jobs and answers as our own (see `models/bench/lm_step.py`).

python -m loadtests.peers.llama_step FOLDER, where FOLDER has one GGUF file per weight type. A job names the weights and
llama.cpp's settings besides batch, context, threads and seconds. One `llama_decode` call carries one token of each
sequence; a step counts until all logits are computed. All rows grow from context - 16 to context + 15 and are cut back.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

RUN_STEPS = 32
_KEPT = 4


class Decoder:
    """A context of llama.cpp with `batch` sequences."""

    def __init__(self, file: Path, batch: int, flash: bool, unified: bool, cache: str) -> None:
        import llama_cpp

        self._llama: Any = llama_cpp
        llama_cpp.llama_backend_init()
        model = llama_cpp.llama_model_default_params()
        model.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(file).encode(), model)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = batch * 512, 512, 512
        settings.n_seq_max = batch
        settings.flash_attn_type = 1 if flash else 0
        settings.kv_unified = unified
        settings.type_k = settings.type_v = {"f32": 0, "f16": 1, "q8_0": 8}[cache]
        settings.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._model or not self._context:
            raise RuntimeError(f"llama.cpp refuses {file.name} with flash={flash} cache={cache}")
        self._tokens = llama_cpp.llama_batch_init(512, 0, 1)
        self.batch, self.filled = batch, 0

    def use_threads(self, threads: int) -> None:
        self._llama.llama_set_n_threads(self._context, threads, threads)

    def _decode(self, rows: list[tuple[int, int]], logits: bool = True) -> None:
        """One token per (sequence, position)."""
        tokens = self._tokens
        tokens.n_tokens = len(rows)
        for index, (sequence, position) in enumerate(rows):
            tokens.token[index] = 300 + (7 * position + sequence) % 700
            tokens.pos[index], tokens.n_seq_id[index] = position, 1
            tokens.seq_id[index][0], tokens.logits[index] = sequence, logits
        code = self._llama.llama_decode(self._context, tokens)
        if code != 0:
            raise RuntimeError(f"llama_decode answered {code}")

    def step(self, position: int) -> None:
        self._decode([(sequence, position) for sequence in range(self.batch)])
        logits = self._llama.llama_get_logits(self._context)
        assert ctypes.cast(logits, ctypes.c_void_p).value

    def cut_to(self, length: int) -> None:
        """Every sequence is `length` tokens long afterwards."""
        memory = self._llama.llama_get_memory(self._context)
        for sequence in range(self.batch):
            if not self._llama.llama_memory_seq_rm(memory, sequence, length, -1):
                raise RuntimeError("llama.cpp cannot cut the sequence")
        missing = range(min(self.filled, length), length)
        rows = [(sequence, position) for position in missing for sequence in range(self.batch)]
        for start in range(0, len(rows), 512):
            self._decode(rows[start : start + 512], logits=False)
        self.filled = length

    def close(self) -> None:
        self._llama.llama_batch_free(self._tokens)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


def step_times_s(decoder: Decoder, context: int, seconds: float) -> list[float]:
    """Wall time of every step, filling not counted."""
    first = max(0, context - RUN_STEPS // 2)
    times: list[float] = []
    spent_s = 0.0
    while True:
        decoder.cut_to(first)
        for position in range(first, first + RUN_STEPS):
            started = time.perf_counter()
            decoder.step(position)
            times.append(time.perf_counter() - started)
            decoder.filled = position + 1
            spent_s += times[-1]
            if spent_s >= seconds:
                return times


def main() -> None:
    folder = Path(sys.argv[1])

    kept: dict[tuple[Any, ...], Decoder] = {}  # oldest first; a context takes tens of megabytes
    for line in sys.stdin:
        job = json.loads(line)
        names = ("weights", "batch", "flash", "unified", "cache")
        wanted = tuple(job[name] for name in names)
        try:
            if wanted not in kept:
                if len(kept) == _KEPT:
                    kept.pop(next(iter(kept))).close()
                kept[wanted] = Decoder(folder / f"{wanted[0]}.gguf", *wanted[1:])
            one = kept[wanted]
            one.use_threads(job["threads"])
            step_times_s(one, job["context"], seconds=0.05)
            times = step_times_s(one, job["context"], job["seconds"])
        except RuntimeError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            continue
        print(json.dumps({"step_ms": 1000 * statistics.median(times), "steps": len(times)}), flush=True)


if __name__ == "__main__":
    main()
