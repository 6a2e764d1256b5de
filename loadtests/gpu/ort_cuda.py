"""Part 3: does ONNX Runtime's CUDA provider load, which nodes does it take, and what does a captured step cost?

The decoder is that of the 0.6B talker: its weights fit into one serialised model. Every captured step is compared with
the torch decoder on the same weights, before and after its positions moved.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from loadtests.gpu import ort_session
from loadtests.gpu.decoder import Cache
from loadtests.gpu.onnx_graphs import Variant, decoder_graph
from loadtests.gpu.ort_session import Bound, bind, open_session, require_provider, run_options
from loadtests.gpu.ort_step import StepJob
from loadtests.gpu.reference64 import relative_error
from loadtests.gpu.report import Table
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import QWEN_0_6B, TINY

VARIANTS = (Variant.CAUSAL_LENGTH, Variant.MASK, Variant.GROUP_QUERY)
BUCKETS = (1, 4, 16, 64, 128)
TINY_BUCKETS = (1, 3)
REPEATS = 50
IN_PLACE_ERROR = 0.05  # a column that was not written is off by about 1


def run_load(setting: Setting, table: Table) -> None:
    """Versions, the library's size, and a two-layer decoder whose profile says which node ran where."""
    provider = require_provider(setting)
    library = ort_session.provider_library()
    table.note(f"onnxruntime {ort_session.version()} offers {', '.join(ort_session.providers())}")
    if library is None:
        table.note("CUDA provider: skipped, this onnxruntime package has none; the rows are of the CPU provider")
    else:
        image = np.fromfile(library, dtype=np.uint8)
        table.note(
            f"CUDA provider: {image.size / 1e6:.0f} MB, {np.count_nonzero(image) / image.size:.0%} of its bytes not "
            "zero (a slimmed library has many zeros)"
        )
    shape = TINY.talker if setting.is_tiny else replace(QWEN_0_6B.talker, layers=2)
    is_any_done = False
    for dtype in (torch.bfloat16, torch.float16) if setting.is_cuda else (torch.float32,):
        for variant in VARIANTS:
            for is_contrib in (False, True):
                cells = {
                    "variant": variant.value,
                    "operators": "ONNX Runtime's" if is_contrib else "standard",
                    "type": str(dtype).removeprefix("torch."),
                }
                try:
                    job = StepJob.random(setting, shape, dtype, rows=2, tokens=1)
                    inputs, outputs = job.buffers(variant)
                    _wait(setting)
                    model = decoder_graph(job.decoder, job.head, job.columns, variant, is_contrib)
                    places = ort_session.node_places(model, setting, inputs, outputs)
                except Exception as error:  # a graph that does not load is a result
                    table.row(**cells, note=f"refused: {str(error).strip()[:200]}")
                    continue
                table.row(
                    **cells,
                    provider=provider,
                    nodes=sum(places.by_provider.values()),
                    memcpy_nodes=places.copies,
                    on_another_provider=_listed(places.strays),
                )
                is_any_done = True
    if not is_any_done:
        raise RuntimeError(ort_session.ALL_REFUSED)


def _listed(strays: dict[str, int]) -> str:
    return ", ".join(f"{name} x{count}" for name, count in strays.items()) or "none"


@torch.inference_mode()
def run_buckets(setting: Setting, table: Table) -> None:
    require_provider(setting)
    shape = TINY.talker if setting.is_tiny else QWEN_0_6B.talker
    dtype = torch.bfloat16 if setting.is_cuda else torch.float32
    first = StepJob.random(setting, shape, dtype, rows=1, tokens=1)
    if not setting.is_cuda:
        table.note("capture: skipped, it needs CUDA; the rows run the same graph plainly on the CPU provider")
    steps_done = 0
    for variant in VARIANTS:
        streams: tuple[str, ...] = ("own",)
        if setting.is_cuda and variant is Variant.CAUSAL_LENGTH:
            streams = ("own", "torch's")
        for stream in streams:
            for is_contrib in (False, True) if stream == "own" else (False,):
                if not setting.has_time(15):
                    table.note(f"out of time before {variant.value}, {stream} stream")
                    return
                steps_done += _run_session(setting, table, first, variant, stream, is_contrib)
    if not steps_done:
        raise RuntimeError(ort_session.ALL_REFUSED)


def _run_session(
    setting: Setting, table: Table, first: StepJob, variant: Variant, stream: str, is_contrib: bool
) -> int:
    """One session serves every bucket, each with a graph id of its own. Returns how many steps ran."""
    cells = {
        "variant": variant.value,
        "operators": "ONNX Runtime's" if is_contrib else "standard",
        "stream": stream,
    }
    side = torch.cuda.Stream() if stream != "own" else None
    address = side.cuda_stream if side is not None else None
    try:
        model = decoder_graph(first.decoder, first.head, first.columns, variant, is_contrib)
        session = open_session(model, setting, is_captured=setting.is_cuda, stream=address)
    except Exception as error:  # a provider that refuses to capture a graph is a result
        table.row(**cells, note=f"refused: {str(error).strip()[:200]}")
        return 0
    del model
    tokens_wanted = (1,) if variant is Variant.GROUP_QUERY or stream != "own" else (1, 4)
    graph_id = steps_done = 0
    for rows in TINY_BUCKETS if setting.is_tiny else BUCKETS:
        for tokens in tokens_wanted:
            graph_id += 1
            if not setting.has_time(4):
                table.note(f"out of time before batch {rows}, S {tokens}")
                return steps_done
            job = StepJob.over(setting, first.decoder, first.head, rows, tokens)
            try:
                found = _measure_bucket(setting, job, session, variant, graph_id, side)
                steps_done += 1
            except Exception as error:
                found = {"note": f"refused: {str(error).strip()[:200]}"}
            table.row(**cells, batch=rows, S=tokens, **found)
    return steps_done


def _measure_bucket(
    setting: Setting, job: StepJob, session: object, variant: Variant, graph_id: int, side: torch.cuda.Stream | None
) -> dict[str, str | float | bool | None]:
    inputs, outputs = job.buffers(variant)
    _wait(setting)
    bound = bind(session, inputs, outputs)  # type: ignore[arg-type]
    twin = Cache([slab.clone() for slab in job.history.keys], [slab.clone() for slab in job.history.values])
    eager = run_options(None, is_synchronous=True) if setting.is_cuda else None
    bound.run(eager)
    found: dict[str, str | float | bool | None] = {
        "error": _error(outputs["logits"], job.torch_logits(twin, 0)),
    }
    _, found["eager_ms"] = _pace(setting, bound, run_options(None, is_synchronous=False) if setting.is_cuda else None)
    twin_keys = twin.keys[0].view(len(job.x), job.columns, -1)
    found["in_place"] = _error(_written(job, inputs), twin_keys) < IN_PLACE_ERROR
    if not setting.is_cuda:
        job.move(inputs, 1)
        bound.run()
        found["error_after_move"] = _error(outputs["logits"], job.torch_logits(twin, 1))
        return found
    captured = run_options(graph_id, is_synchronous=True)
    for _ in range(4):  # plain, captured, replayed
        bound.run(captured)
    job.move(inputs, 1)
    _wait(setting)
    bound.run(captured)
    found["error_after_move"] = _error(outputs["logits"], job.torch_logits(twin, 1))
    found["host_us"], found["graph_ms"] = _pace(setting, bound, run_options(graph_id, is_synchronous=False))
    if side is not None:
        found["torch_follows"] = _torch_follows(bound, graph_id, outputs["logits"], side)
    return found


def _written(job: StepJob, inputs: dict[str, Tensor]) -> Tensor:
    """The first layer's keys as [B, T, Hk D]; columns behind a row's length are taken from the history."""
    rows = len(job.x)
    cache = inputs["past_key0"]
    cache = cache.transpose(1, 2).flatten(2)
    history = job.history.keys[0].view(rows, job.columns, -1)
    is_used = torch.arange(job.columns, device=cache.device) <= job.positions[:, -1:]
    return torch.where(is_used[:, :, None], cache, history)


def _error(got: Tensor, wanted: Tensor) -> float:
    return relative_error(got.double().cpu().numpy(), wanted.double().cpu().numpy())


def _pace(setting: Setting, bound: Bound, options: object) -> tuple[float, float]:
    """Host microseconds until a call returned, and milliseconds per step of calls made without a wait between them."""
    repeats = REPEATS if setting.is_cuda else 5
    host_us = []
    for _ in range(3):
        bound.run(options)  # type: ignore[arg-type]
    _wait(setting)
    started = time.perf_counter()
    for _ in range(repeats):
        before = time.perf_counter()
        bound.run(options)  # type: ignore[arg-type]
        host_us.append(1e6 * (time.perf_counter() - before))
    _wait(setting)
    return statistics.median(host_us), 1e3 * (time.perf_counter() - started) / repeats


def _torch_follows(bound: Bound, graph_id: int, logits: Tensor, side: torch.cuda.Stream) -> bool:
    """Whether a torch operator on the shared stream sees the replay's result without any wait of the host."""
    bound.run(run_options(graph_id, is_synchronous=True))
    torch.cuda.synchronize()
    wanted = logits.sum()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        logits.zero_()
        bound.run(run_options(graph_id, is_synchronous=False))
        got = logits.sum()
    torch.cuda.synchronize()
    return bool(torch.isclose(got, wanted))


def _wait(setting: Setting) -> None:
    if setting.is_cuda:
        torch.cuda.synchronize()
