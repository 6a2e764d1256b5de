"""Part 3, captured steps: what a replay of ONNX Runtime costs the host and the device, per bucket of rows.

The decoder is that of the 0.6B talker: its weights fit into one serialised model. Every step is compared with the torch
decoder on the same weights, before and after its positions moved. Each way to write attention is a table and a process
of its own: a capture that breaks may leave its process unusable.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from loadtests.gpu.decoder import Cache
from loadtests.gpu.onnx_graphs import Variant, decoder_graph
from loadtests.gpu.ort_session import ALL_REFUSED, Bound, bind, open_session, require_provider, run_options
from loadtests.gpu.ort_step import StepJob
from loadtests.gpu.reference64 import relative_error
from loadtests.gpu.report import Cell, Table, short
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import QWEN_0_6B, TINY

BUCKETS = (1, 4, 16, 64, 128)
TINY_BUCKETS = (1, 3)
REPEATS = 50
IN_PLACE_ERROR = 0.05  # a column that was not written is off by about 1


class CaptureError(Exception):
    """A step ran, its capture did not; carries what was found before."""

    def __init__(self, found: dict[str, Cell], reason: str) -> None:
        super().__init__(reason)
        self.found = found


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One session: how its graph is written and whose stream it uses."""

    variant: Variant
    is_contrib: bool
    is_on_torch_stream: bool = False

    @property
    def cells(self) -> dict[str, Cell]:
        return {
            "operators": "ONNX Runtime's" if self.is_contrib else "standard",
            "stream": "torch's" if self.is_on_torch_stream else "own",
        }

    @property
    def tokens(self) -> tuple[int, ...]:
        """GroupQueryAttention verifies no drafts; torch's stream is tried with one token."""
        return (1,) if self.variant is Variant.GROUP_QUERY or self.is_on_torch_stream else (1, 4)


def run_causal_buckets(setting: Setting, table: Table) -> None:
    ways = [Way(variant=Variant.CAUSAL_LENGTH, is_contrib=is_contrib) for is_contrib in (False, True)]
    if setting.is_cuda:
        ways.append(Way(variant=Variant.CAUSAL_LENGTH, is_contrib=False, is_on_torch_stream=True))
    _run_ways(setting, table, ways)


def run_mask_buckets(setting: Setting, table: Table) -> None:
    _run_ways(setting, table, [Way(variant=Variant.MASK, is_contrib=is_contrib) for is_contrib in (False, True)])


def run_group_buckets(setting: Setting, table: Table) -> None:
    _run_ways(setting, table, [Way(variant=Variant.GROUP_QUERY, is_contrib=is_contrib) for is_contrib in (False, True)])


@torch.inference_mode()
def _run_ways(setting: Setting, table: Table, ways: list[Way]) -> None:
    """bfloat16 first; float16 only where the provider refuses all of it."""
    require_provider(setting)
    shape = TINY.talker if setting.is_tiny else QWEN_0_6B.talker
    if not setting.is_cuda:
        table.note("capture: skipped, it needs CUDA; the rows run the same graph plainly on the CPU provider")
    for dtype in (torch.bfloat16, torch.float16) if setting.is_cuda else (torch.float32,):
        first = StepJob.random(setting, shape, dtype, rows=1, tokens=1)
        steps_done = 0
        for way in ways:
            if not setting.has_time(15):
                table.note(f"out of time before {way.cells}")
                return
            try:
                steps_done += _run_session(setting, table, first, way)
            except CaptureError as error:
                table.note(f"the step ends here, a capture broke: {short(error)}")
                return
        if steps_done:
            return
    raise RuntimeError(ALL_REFUSED)


def _run_session(setting: Setting, table: Table, first: StepJob, way: Way) -> int:
    """One session serves every bucket, each with a graph id of its own. Returns how many steps ran."""
    dtype = first.decoder.final_norm.dtype
    cells: dict[str, Cell] = {"type": str(dtype).removeprefix("torch."), **way.cells}
    side = torch.cuda.Stream() if way.is_on_torch_stream else None
    address = side.cuda_stream if side is not None else None
    model = decoder_graph(first.decoder, first.head, first.columns, way.variant, way.is_contrib)
    is_captured = setting.is_cuda
    try:
        session = open_session(model, setting, is_captured, address)
    except Exception as error:  # a provider that refuses to capture a graph is a result; it may still run it
        table.row(**cells, note=f"refused: {short(error)}")
        if not is_captured:
            return 0
        is_captured = False
        try:
            session = open_session(model, setting, is_captured, address)
        except Exception as second:
            table.row(**cells, note=f"refused without capture too: {short(second)}")
            return 0
    del model
    graph_id = steps_done = 0
    for rows in TINY_BUCKETS if setting.is_tiny else BUCKETS:
        for tokens in way.tokens:
            graph_id += 1
            if not setting.has_time(4):
                table.note(f"out of time before batch {rows}, S {tokens}")
                return steps_done
            job = StepJob.over(setting, first.decoder, first.head, rows, tokens)
            cells |= {"batch": rows, "S": tokens}
            try:
                found = _measure_bucket(setting, job, session, way.variant, graph_id if is_captured else None, side)
                steps_done += 1
            except CaptureError as error:
                table.row(**cells, **error.found, note=f"capture: {short(error)}")
                raise
            except Exception as error:
                found = {"note": f"refused: {short(error)}"}
            table.row(**cells, **found)
    return steps_done


def _measure_bucket(
    setting: Setting,
    job: StepJob,
    session: object,
    variant: Variant,
    graph_id: int | None,
    side: torch.cuda.Stream | None,
) -> dict[str, Cell]:
    """`graph_id` None: the session captures nothing."""
    inputs, outputs = job.buffers(variant)
    _wait(setting)
    bound = bind(session, inputs, outputs)  # type: ignore[arg-type]
    twin = Cache([slab.clone() for slab in job.history.keys], [slab.clone() for slab in job.history.values])
    bound.run(run_options(None, is_synchronous=True))
    found: dict[str, Cell] = {"error": _error(outputs["logits"], job.torch_logits(twin, 0))}
    _, found["eager_ms"] = _pace(setting, bound, None)
    twin_keys = twin.keys[0].view(len(job.x), job.columns, -1)
    found["in_place"] = _error(_written(job, inputs), twin_keys) < IN_PLACE_ERROR
    if graph_id is not None:
        try:
            for _ in range(4):  # plain, captured, replayed
                bound.run(run_options(graph_id, is_synchronous=True))
        except Exception as error:
            raise CaptureError(found, str(error)) from error
    job.move(inputs, 1)
    _wait(setting)
    bound.run(run_options(graph_id, is_synchronous=True))
    found["error_after_move"] = _error(outputs["logits"], job.torch_logits(twin, 1))
    if graph_id is not None:
        found["host_us"], found["graph_ms"] = _pace(setting, bound, graph_id)
    if graph_id is not None and side is not None:
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


def _pace(setting: Setting, bound: Bound, graph_id: int | None) -> tuple[float, float]:
    """Host microseconds until a call returned, and milliseconds per step of calls made without a wait between them."""
    repeats = REPEATS if setting.is_cuda else 5
    options = run_options(graph_id, is_synchronous=False)
    host_us = []
    for _ in range(3):
        bound.run(options)
    _wait(setting)
    started = time.perf_counter()
    for _ in range(repeats):
        before = time.perf_counter()
        bound.run(options)
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
