"""Part 10: TensorRT's plans of the shipped voice, built on this very device, tested by the goldens, and timed."""

from __future__ import annotations

import time

from engines.errors import ParlandoError
from engines.families.common.device_calls import buckets
from engines.families.phone_pointer.device_buffers import LmBuffers
from engines.families.phone_pointer.self_test import self_test
from engines.runtime.tensorrt import TensorRt, tensorrt
from models import tensorrt_plans
from tests.dry_cuda.voice import BUNDLE, form
from tests.gpu_check.buckets import replay_times
from tests.gpu_check.report import Table
from tests.gpu_check.setting import Setting, Skipped

MOST_ROWS = 256


def run_plans(setting: Setting, table: Table) -> None:
    device = setting.timed_device()
    try:
        trt = tensorrt()
    except ParlandoError as error:
        raise Skipped(str(error)) from error
    made, started = form(), time.perf_counter()
    tensorrt_plans.write(BUNDLE, made.folder, trt, device.facts().capability, lambda phase, share: None)
    table.note(f"TensorRT {trt.__version__}: built in {time.perf_counter() - started:.0f} s")
    backend = TensorRt(made.folder / "tensorrt", device)
    problem = self_test(made, BUNDLE, backend)
    table.note(f"goldens: {problem or 'passed'}")
    (decode,) = backend.graphs(made.graph("decode"))
    lm = LmBuffers(BUNDLE, made, backend, MOST_ROWS)
    for rows in buckets(MOST_ROWS):
        if not setting.has_time(5):
            return
        call = decode.bind(lm.decode(rows))
        backend.prepare(call)
        table.row(graph="decode", rows=rows, **replay_times(call))
    assert problem is None, problem
