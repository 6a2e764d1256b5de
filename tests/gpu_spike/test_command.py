"""The command runs to its end without a GPU; a step that hangs, dies or lacks a package costs its own table only."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.gpu.parts import PARTS, Part, Step
from loadtests.gpu.report import Report, Table, short
from loadtests.gpu.runner import Options, run_parts
from loadtests.gpu_spike import table_folder

ROOT = Path(__file__).resolve().parents[2]
BARE_PACKAGES = {"torch", "numpy", "onnx", "onnxruntime", "transformers", "loadtests"}
ENDINGS = {
    "hangs": "threading.Event().wait()",
    "dies": "os.kill(os.getpid(), signal.SIGSEGV)",
    "raises": "raise RuntimeError('the device is gone')",
    "ends": "report.end(name, 'done')",
}
CHILD = """
import os, signal, sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from loadtests.gpu.report import Report, Table, short
name = sys.argv[sys.argv.index("--step") + 1]
report = Report(Path(sys.argv[sys.argv.index("--out") + 1]) / "9-trial.json", "Trial")
Table(report, name).row(what="before the end", ms=1.23456)
{ending}
"""


def _table(out: Path, name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((out / "9-trial.json").read_text())["tables"][name]
    return table


@pytest.mark.parametrize(
    ("how", "state", "reason"),
    [
        ("hangs", "killed", "past its box"),
        ("dies", "failed", "SIGSEGV"),
        ("raises", "failed", "the device is gone"),
        ("ends", "done", ""),
    ],
)
def test_a_step_keeps_its_rows_however_it_ends(tmp_path: Path, how: str, state: str, reason: str) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD.format(root=str(ROOT), ending=ENDINGS[how]))
    step = Step(name="trial", title="A trial", limit_s=1.5, module="none", function="none")
    part = Part(number=9, name="trial", title="Trial", steps=(step,))
    earlier = Report(tmp_path / "9-trial.json", "Trial")
    earlier.begin("other", "Measured before", {})
    earlier.end("other", "done")
    is_whole = run_parts([sys.executable, str(child)], [part], Options(out=tmp_path), {"commit": "abc"})
    table = _table(tmp_path, "trial")
    assert table["state"] == state
    assert reason in table["reason"]
    assert table["rows"] == [{"what": "before the end", "ms": 1.235}]
    assert is_whole == (state == "done")
    assert _table(tmp_path, "other")["state"] == "done"
    assert "| before the end | 1.235 |" in (tmp_path / "9-trial.md").read_text()


def test_a_markdown_table_has_every_column_and_no_stray_bar(tmp_path: Path) -> None:
    report = Report(tmp_path / "a.json", "A")
    report.begin("t", "T", {"commit": "abc"})
    table = Table(report, "t")
    table.row(what="a|b", ms=12345.6)
    table.row(what="c", is_right=True, note=None)
    lines = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert lines[0] == "| what | ms | is right | note |"
    assert lines[2] == "| a/b | 12350 |  |  |"
    assert lines[3] == "| c |  | yes |  |"


def test_a_long_message_keeps_its_end() -> None:
    assert short(ValueError("two\nlines")) == "two lines"
    assert short(KeyError()) == "KeyError"
    said = short(RuntimeError("FAIL: " + "signature " * 100 + "no such kernel"))
    assert said.startswith("FAIL: signature")
    assert said.endswith("no such kernel")
    assert len(said) <= 300


def test_a_run_on_a_cpu_overwrites_no_tables_of_a_gpu() -> None:
    assert table_folder("none") == "cpu"
    assert table_folder("NVIDIA GeForce RTX 4090 (24 GB)") == "nvidia-geforce-rtx-4090-24-gb"


def test_boxes_fit_a_lease() -> None:
    boxes = [sum(step.limit_s for step in part.steps) for part in PARTS]
    assert sum(boxes) < 20 * 60
    assert max(boxes) < 10 * 60


def test_the_measurements_need_a_bare_machine_only() -> None:
    for path in [ROOT / "loadtests" / "gpu_spike.py", *(ROOT / "loadtests" / "gpu").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in BARE_PACKAGES or top in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the measurements need torch")
def test_the_command_runs_every_part_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "gpu_spike.py"), "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in PARTS:
        content = json.loads((tmp_path / part.file_name).read_text())
        assert list(content["tables"]) == [step.name for step in part.steps]
        assert (tmp_path / part.file_name).with_suffix(".md").read_text().startswith(f"# {part.title}\n")
        for name, table in content["tables"].items():
            assert table["run"]["commit"]
            if name == "peer" and table["state"] == "skipped":
                assert table["reason"]
                continue
            assert table["state"] == "done", (name, table["reason"])
            assert table["rows"]
    tables = {step.name: _rows(tmp_path, part, step.name) for part in PARTS for step in part.steps}
    graphs = [row for row in tables["frames"] if row["mode"] == "graph"]
    assert graphs
    assert all(row["note"] == "skipped: a graph needs CUDA" for row in graphs)
    buckets = [row for name in ("causal", "mask", "group") for row in tables[f"buckets-{name}"]]
    refused = [row for row in (*tables["load"], *tables["attention"], *buckets) if "note" in row]
    assert {(row["variant"], row["S"]) for row in refused} == {("GroupQueryAttention", 4)}
    assert all(row["memcpy_nodes"] == 0 for row in tables["load"])
    assert all(row["in_place"] and row["error_after_move"] < 1e-4 for row in buckets)
    assert {row["S"] for row in tables["verification"]} == set(range(1, 9))
    assert {row["rows"] for row in tables["host"]} == {64, 172, 256}


def _rows(out: Path, part: Part, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / part.file_name).read_text())["tables"][name]["rows"]
    return rows


def test_an_unknown_part_is_refused_with_its_remedy(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "gpu_spike.py"), "--parts", "1,9", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "--parts takes numbers from [1, 2, 3, 4, 5, 6], got '9'" in done.stderr
