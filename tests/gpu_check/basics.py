"""Parts 0 and 1: what serving finds here; the shipped voice loads, is placed whole and passes its goldens."""

from __future__ import annotations

import os
import time

from engines.families.phone_pointer.self_test import self_test
from engines.runtime.onnx_cuda import OnnxCuda
from tests.dry_cuda.voice import BUNDLE, emulation, form
from tests.gpu_check.facts import ROOT
from tests.gpu_check.report import Table
from tests.gpu_check.setting import PRETENDED, Setting


def run_doctor(setting: Setting, table: Table) -> None:
    from server import doctor

    if PRETENDED:
        emulation()
    table.note(f"the voice of all parts: {BUNDLE.name} {BUNDLE.version}")
    os.environ["PARLANDO_GPU_FORM"] = str(form().folder)
    for one in doctor.findings(None):
        found, remedy = (text and text.replace(str(ROOT), ".") for text in (one.found, one.remedy))
        table.row(what=one.what, found=found, remedy=remedy)


def run_self_test(setting: Setting, table: Table) -> None:
    """A graph that is not placed whole is refused when it is loaded: no node runs on the host, none copies."""
    facts = setting.device.facts()
    table.note(f"compute capability {'.'.join(map(str, facts.capability))}, {facts.total_bytes / 1e9:.1f} GB")
    if PRETENDED:
        emulation()
    made, backend = form(), OnnxCuda()
    for path in sorted(made.folder.glob("*.onnx")):
        started = time.perf_counter()
        backend.graphs(path)
        table.row(what=path.stem, result="all nodes on CUDA", seconds=time.perf_counter() - started)
    started = time.perf_counter()
    problem = self_test(made, BUNDLE, backend)
    table.row(what="goldens", result=problem or "passed", seconds=time.perf_counter() - started)
    assert problem is None, problem
