"""Part 2: the runtime's own captured kernels, by name and number, are those of the committed dry table.

So the pretended device is proved on a real one: what it says of placement and captures holds there. Kernels that the
libraries launch (cuBLAS picks them by device) are listed apart, beside the calls that the dry run saw.
"""

from __future__ import annotations

import json
from collections import Counter

from tests.dry_cuda.log import kernel_name
from tests.dry_cuda.test_gpu_graphs import CASES, TABLE, captured_graph
from tests.gpu_check.recorder import record
from tests.gpu_check.report import Table
from tests.gpu_check.setting import Setting

LIBRARY = ("cublas",)  # their calls' names


def run_kernels(setting: Setting, table: Table) -> None:
    log = record()
    table.note(f"compute capability {'.'.join(map(str, setting.device.facts().capability))}; the table is for 9.0")
    known, differ = json.loads(TABLE.read_text()), []
    for graph, rows in CASES:
        found = captured_graph(graph, rows, log)
        launched = found.nodes
        wanted = Counter(known[f"{graph} {rows}"])
        calls = Counter({name: count for name, count in wanted.items() if name.startswith(LIBRARY)})
        missing, unexpected = wanted - calls - launched, launched - wanted
        all_kernels = Counter(kernel_name(one.fields[0]) for one in found.entries if one.event == "node")
        if missing or unexpected:
            differ.append(f"{graph} {rows}")
        table.row(
            graph=graph,
            rows=rows,
            nodes=launched.total() + (all_kernels - launched).total(),
            equal=not missing and not unexpected,
            missing=_listed(missing),
            unexpected=_listed(unexpected),
            library_calls=_listed(calls),
            library_kernels=_listed(all_kernels - launched),
            disturbances=len(found.disturbances),
        )
    assert not differ, f"other kernels than the dry table's: {', '.join(differ)}"


def _listed(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(names.items()))
