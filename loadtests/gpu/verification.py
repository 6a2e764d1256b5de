"""Part 4: what it costs to verify drafts, S tokens per row in one step of the talker, at every batch size.

A draft of K codes is verified by S = K + 1 tokens. The step pays while it emits more tokens per row than it costs in
steps of one token: `acceptance_to_pay` is that number, drafting itself not counted.
A draft of whole frames also needs the predictor once over all codes of S frames at the same time: `codes_pass_ms`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from loadtests.gpu.decoder import decode, new_cache, place_alike, place_at
from loadtests.gpu.frames import FrameModel, random_frame_model
from loadtests.gpu.layers import fused_layer, use_ready_kernels
from loadtests.gpu.qwen_frames import BATCHES, TINY_BATCHES, dtype_for, shapes
from loadtests.gpu.report import Table
from loadtests.gpu.setting import Setting
from loadtests.gpu.timing import Call, in_a_row_ms, measure

COLUMNS, CONTEXT = 512, 375
TINY_COLUMNS, TINY_CONTEXT = 32, 20
MOST_TOKENS = 8
CODE_PASS_TOKENS = (1, 2, 4, 8)


@torch.inference_mode()
def run_verification(setting: Setting, table: Table) -> None:
    use_ready_kernels()
    columns = TINY_COLUMNS if setting.is_tiny else COLUMNS
    if not setting.is_cuda:
        table.note("captured steps: skipped, a graph needs CUDA; the rows are eager")
    for shape in shapes(setting):
        model = random_frame_model(shape, setting.device, dtype_for(setting), columns)
        for rows in TINY_BATCHES if setting.is_tiny else BATCHES:
            alone_ms = None
            for tokens in range(1, MOST_TOKENS + 1):
                if not setting.has_time(6):
                    table.note(f"out of time before {shape.name}, batch {rows}, S {tokens}")
                    return
                step_ms = _time(setting, verify_call(setting, model, rows, tokens, columns))
                alone_ms = alone_ms or step_ms
                codes_ms = None
                if tokens in CODE_PASS_TOKENS:
                    codes_ms = _time(setting, codes_call(setting, model, rows * tokens))
                table.row(
                    model=shape.name, batch=rows, S=tokens, tokens=rows * tokens, ms=step_ms,
                    acceptance_to_pay=step_ms / alone_ms, codes_pass_ms=codes_ms,
                )  # fmt: skip


def verify_call(setting: Setting, model: FrameModel, rows: int, tokens: int, columns: int) -> Call:
    """One step of S tokens per row at a fixed context; it ends with the picks, as a verifier would."""
    context = TINY_CONTEXT if setting.is_tiny else CONTEXT
    device, dtype, shape = setting.device, dtype_for(setting), model.shape.talker
    x = torch.randn(rows, tokens, shape.hidden, device=device).to(dtype)
    cache = new_cache(shape, rows, columns, device, dtype)
    positions = (context + torch.arange(tokens, device=device)).repeat(rows, 1)

    def call() -> torch.Tensor:
        place = place_at(model.talker, positions, columns)
        hidden = decode(model.talker, fused_layer, x, place, cache)
        return F.linear(hidden, model.first_head).argmax(dim=-1)

    return call


def codes_call(setting: Setting, model: FrameModel, frames: int) -> Call:
    """The predictor over all codes of so many frames at once, each head on its own position."""
    shape = model.shape
    device, dtype = setting.device, dtype_for(setting)
    x = torch.randn(frames, shape.codebooks, shape.predictor.hidden, device=device).to(dtype)
    cache = new_cache(shape.predictor, frames, shape.codebooks, device, dtype)
    place = place_alike(model.predictor, 0, shape.codebooks, frames, shape.codebooks, is_sliced=True)

    def call() -> torch.Tensor:
        hidden = decode(model.predictor, fused_layer, x, place, cache)[:, 1:]
        return torch.bmm(hidden.transpose(0, 1), model.heads.transpose(1, 2)).argmax(dim=-1)

    return call


def _time(setting: Setting, call: Call) -> float:
    if not setting.is_cuda:
        return measure(call, setting.device, repeats=5, warmups=1).median_ms
    from loadtests.gpu.capture import capture

    return in_a_row_ms(capture(call).replay, setting.device)
