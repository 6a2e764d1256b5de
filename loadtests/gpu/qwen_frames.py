"""Part 2: frames, vocoder and prefill of Qwen3-TTS shapes in torch, against the bytes they must move.

A row says how long one call takes for a whole batch, how many kernels it runs, and which share of the copy rate it
reaches. Eager rows show the host, captured rows the device: `ms` is one replay on an idle device, its launch included,
`in_a_row_ms` one of many without a wait, which the share of the floor is taken from.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
import torch.nn.functional as F

from loadtests.gpu.decoder import decode, new_cache, place_at, random_decoder
from loadtests.gpu.frames import CUDNN, FUSED, MATMUL, PLAIN, Form, FrameModel, new_state, random_frame_model, run_frame
from loadtests.gpu.layers import fused_layer, use_ready_kernels
from loadtests.gpu.report import Table, short
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import QWEN_0_6B, QWEN_1_7B, QWEN_VOCODER, TINY, TINY_VOCODER, FrameShape
from loadtests.gpu.timing import copy_bytes_per_s, in_a_row_ms, kernels, measure
from loadtests.gpu.vocoder import new_vocoder_state, random_vocoder, vocode_frame

BATCHES = (1, 4, 16, 64, 128)
TINY_BATCHES = (1, 3)
PROFILED_BATCHES = (1, 64)
COLUMNS, CONTEXT = 512, 375  # a cache of 512 positions; 375 of them used, 30 s of speech
TINY_COLUMNS, TINY_CONTEXT = 96, 20
REPEATS = 20
NO_GRAPH = "skipped: a graph needs CUDA"


def shapes(setting: Setting) -> tuple[FrameShape, ...]:
    return (TINY,) if setting.is_tiny else (QWEN_1_7B, QWEN_0_6B)


def dtype_for(setting: Setting) -> torch.dtype:
    return torch.bfloat16 if setting.is_cuda else torch.float32


def _extent(setting: Setting) -> tuple[int, int]:
    return (TINY_COLUMNS, TINY_CONTEXT) if setting.is_tiny else (COLUMNS, CONTEXT)


@torch.inference_mode()
def run_frames(setting: Setting, table: Table) -> None:
    use_ready_kernels()
    rate = copy_bytes_per_s(setting.device)
    table.note(f"floor: weights and used keys and values once, at the copy rate measured here, {rate / 1e12:.2f} TB/s")
    columns, _ = _extent(setting)
    batches = TINY_BATCHES if setting.is_tiny else BATCHES
    measured = 0
    for shape in shapes(setting):
        model = random_frame_model(shape, setting.device, dtype_for(setting), columns)
        jobs = [(rows, form, 5.0) for rows in batches for form in (PLAIN, FUSED, MATMUL)]
        if setting.is_cuda and shape is shapes(setting)[-1]:  # last: its kernels are built on first use, one per shape
            jobs += [(batches[-2], CUDNN, 20.0), (batches[0], CUDNN, 20.0)]
        for rows, form, seconds in jobs:
            if not setting.has_time(seconds):
                table.note(f"out of time before {shape.name}, batch {rows}, {form.name}")
                return
            try:
                measure_frame(setting, table, model, rows, form, rate)
                measured += 1
            except RuntimeError as error:  # no memory for this batch, no kernel for this form: the next may do
                table.row(model=shape.name, form=form.name, batch=rows, note=f"refused: {short(error)}")
    if not setting.is_cuda:
        table.note("attention of cuDNN: skipped, it needs CUDA")
    if not measured:
        raise RuntimeError("every form was refused; the rows say why")


def measure_frame(
    setting: Setting,
    table: Table,
    model: FrameModel,
    rows: int,
    form: Form,
    rate: float,
    is_sliced: bool = True,
    compile_s: float | None = None,
) -> None:
    """Two rows: eager and captured. Each run begins at the same context, so none leaves the cache."""
    columns, context = _extent(setting)
    state = new_state(model, rows, columns, is_sliced)
    floor_ms = 1e3 * model.shape.frame_bytes(rows, context) / rate

    def call() -> None:
        run_frame(model, state, form)

    extra = {} if compile_s is None else {"compile_s": compile_s}
    state.rewind(context)
    eager = measure(call, setting.device, repeats=8)
    table.row(
        model=model.shape.name, form=form.name, mode="eager", batch=rows, ms=eager.median_ms, worst_ms=eager.worst_ms,
        host_ms=eager.host_ms, floor_ms=floor_ms, floor_share=floor_ms / eager.median_ms, **extra,
    )  # fmt: skip
    if not setting.is_cuda:
        table.row(model=model.shape.name, form=form.name, mode="graph", batch=rows, note=NO_GRAPH)
        return
    from loadtests.gpu.capture import capture

    state.rewind(context)
    captured = capture(call)
    state.rewind(context)
    replayed = measure(captured.replay, setting.device, repeats=REPEATS)
    state.rewind(context)
    in_a_row = in_a_row_ms(captured.replay, setting.device, REPEATS)
    state.rewind(context)
    count = sum(kernels(captured.replay).values()) or None if rows in PROFILED_BATCHES else None
    table.row(
        model=model.shape.name, form=form.name, mode="graph", batch=rows, ms=replayed.median_ms,
        worst_ms=replayed.worst_ms, host_ms=replayed.host_ms, floor_ms=floor_ms, floor_share=floor_ms / in_a_row,
        in_a_row_ms=in_a_row, kernels=count, graph_nodes=captured.nodes, **extra,
    )  # fmt: skip


@torch.inference_mode()
def run_compiled(setting: Setting, table: Table) -> None:
    """A layer is compiled once per batch size for talker and predictor, whose steps are made to look alike."""
    use_ready_kernels()
    rate = copy_bytes_per_s(setting.device)
    columns, _ = _extent(setting)
    modes: tuple[str | None, ...] = (None, "max-autotune-no-cudagraphs")
    if not setting.is_cuda:
        table.note("without CUDA the layers are traced and not compiled: this shows that nothing breaks the trace")
    for mode in modes if setting.is_cuda else modes[:1]:
        for shape in shapes(setting):
            model = random_frame_model(shape, setting.device, dtype_for(setting), columns)
            for rows in TINY_BATCHES if setting.is_tiny else (1, 64, 16):
                if not setting.has_time(15 if mode is None else 45):
                    table.note(f"out of time before {mode or 'default'}, {shape.name}, batch {rows}")
                    return
                torch.compiler.reset()
                compiled = torch.compile(
                    fused_layer,
                    fullgraph=True,
                    dynamic=False,
                    mode=mode,
                    backend="inductor" if setting.is_cuda else "eager",
                )
                form = replace(FUSED, name=f"compiled, {mode or 'default'}", run_layer=compiled)
                started = time.perf_counter()
                run_frame(model, new_state(model, rows, columns, is_sliced=False), form)
                compile_s = time.perf_counter() - started
                measure_frame(setting, table, model, rows, form, rate, is_sliced=False, compile_s=compile_s)


@torch.inference_mode()
def run_vocoder(setting: Setting, table: Table) -> None:
    use_ready_kernels()
    rate = copy_bytes_per_s(setting.device)
    shape = TINY_VOCODER if setting.is_tiny else QWEN_VOCODER
    dtype = dtype_for(setting)
    vocoder = random_vocoder(shape, setting.device, dtype)
    table.note(
        f"{vocoder.parameters / 1e6:.1f} M weights; an eager and a captured step give {shape.hop_length} samples"
    )
    for rows in TINY_BATCHES if setting.is_tiny else BATCHES:
        state = new_vocoder_state(shape, rows, setting.device, dtype)
        codes = torch.randint(0, shape.codebook_size, (rows, shape.codebooks), device=setting.device)
        floor_ms = 1e3 * 2 * (vocoder.parameters + 2 * rows * state.floats_per_row) / rate

        def call(state=state, codes=codes) -> torch.Tensor:  # type: ignore[no-untyped-def]
            return vocode_frame(vocoder, state, codes)

        eager = measure(call, setting.device, repeats=8)
        table.row(mode="eager", batch=rows, ms=eager.median_ms, host_ms=eager.host_ms, floor_ms=floor_ms)
        if not setting.is_cuda:
            table.row(mode="graph", batch=rows, note=NO_GRAPH)
            continue
        from loadtests.gpu.capture import capture

        captured = capture(call)
        replayed = measure(captured.replay, setting.device)
        in_a_row = in_a_row_ms(captured.replay, setting.device)
        count = sum(kernels(captured.replay).values()) or None if rows in PROFILED_BATCHES else None
        table.row(
            mode="graph", batch=rows, ms=replayed.median_ms, host_ms=replayed.host_ms, floor_ms=floor_ms,
            floor_share=floor_ms / in_a_row, in_a_row_ms=in_a_row, kernels=count, graph_nodes=captured.nodes,
        )  # fmt: skip


@torch.inference_mode()
def run_prefill(setting: Setting, table: Table) -> None:
    use_ready_kernels()
    rate = copy_bytes_per_s(setting.device)
    dtype = dtype_for(setting)
    columns, _ = _extent(setting)
    for shape in shapes(setting):
        generator = torch.Generator(device=setting.device).manual_seed(0)
        talker = random_decoder(shape.talker, setting.device, dtype, columns, generator)
        for rows in (1, 4):
            cache = new_cache(shape.talker, rows, columns, setting.device, dtype)
            for tokens in (8, 16) if setting.is_tiny else (32, 64, 128):
                x = torch.randn(rows, tokens, shape.talker.hidden, device=setting.device).to(dtype)
                positions = torch.arange(tokens, device=setting.device).repeat(rows, 1)

                def call(talker=talker, x=x, positions=positions, cache=cache) -> torch.Tensor:  # type: ignore[no-untyped-def]
                    place = place_at(talker, positions, columns)
                    return F.normalize(decode(talker, fused_layer, x, place, cache)[:, -1])

                eager = measure(call, setting.device, repeats=8)
                cells = {"model": shape.name, "batch": rows, "tokens": tokens}
                floor_ms = 1e3 * shape.talker.weight_bytes / rate
                table.row(**cells, mode="eager", ms=eager.median_ms, host_ms=eager.host_ms, floor_ms=floor_ms)
                if not setting.is_cuda:
                    table.row(**cells, mode="graph", note=NO_GRAPH)
                    continue
                from loadtests.gpu.capture import capture

                captured = capture(call)
                replayed = measure(captured.replay, setting.device)
                in_a_row = in_a_row_ms(captured.replay, setting.device)
                table.row(
                    **cells, mode="graph", ms=replayed.median_ms, host_ms=replayed.host_ms, floor_ms=floor_ms,
                    floor_share=floor_ms / in_a_row, in_a_row_ms=in_a_row,
                )  # fmt: skip
