"""Part 3, first table: does ONNX Runtime's CUDA provider load, and which nodes of a two-layer decoder does it take?

The profile of a run says where each node ran and whether anything was copied between host and device.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from loadtests.gpu import ort_session
from loadtests.gpu.onnx_graphs import Variant, decoder_graph
from loadtests.gpu.ort_session import require_provider
from loadtests.gpu.ort_step import StepJob
from loadtests.gpu.report import Table, short
from loadtests.gpu.setting import Setting
from loadtests.gpu.shapes import QWEN_0_6B, TINY

VARIANTS = (Variant.CAUSAL_LENGTH, Variant.MASK, Variant.GROUP_QUERY)


def run_load(setting: Setting, table: Table) -> None:
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
                    table.row(**cells, note=f"refused: {short(error)}")
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


def _wait(setting: Setting) -> None:
    if setting.is_cuda:
        torch.cuda.synchronize()
