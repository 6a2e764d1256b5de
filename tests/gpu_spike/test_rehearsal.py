"""Every branch that only a GPU takes, run once under a pretended one: names, rows and their order, no numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the measurements need torch")

from loadtests.gpu import environment, ort_attention, ort_buckets, ort_load, ort_session, qwen_frames, verification
from loadtests.gpu.report import Report, Table
from loadtests.gpu.setting import Setting
from tests.gpu_spike.pretended_cuda import OnCpu, pretend

SETTING = Setting(device="cuda", is_tiny=True, deadline_s=time.monotonic() + 1e6)
ON_CPU = replace(SETTING, device="cpu")


class Trial:
    def __init__(self, path: Path, graphs: Any) -> None:
        self.report = Report(path / "trial.json", "Trial")
        self.graphs = graphs
        self.report.begin("trial", "Trial", {})
        self.table = Table(self.report, "trial")

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.report.tables["trial"]["rows"]

    @property
    def notes(self) -> list[str]:
        return self.report.tables["trial"]["notes"]


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    graphs = pretend(monkeypatch)
    monkeypatch.setattr(environment, "copy_bytes_per_s", lambda device: 4e12)
    monkeypatch.setattr(qwen_frames, "copy_bytes_per_s", lambda device: 4e12)
    real = ort_session.open_session
    for module in (ort_session, ort_attention, ort_buckets):
        monkeypatch.setattr(
            module,
            "open_session",
            lambda model, setting, is_captured=False, stream=None, profile_prefix=None: real(
                model, ON_CPU, profile_prefix=profile_prefix
            ),
        )
    for module in (ort_session, ort_attention, ort_buckets, ort_load):
        monkeypatch.setattr(module, "require_provider", lambda setting: ort_session.CPU_PROVIDER)
    with OnCpu():
        yield Trial(tmp_path, graphs)


def test_ceilings(trial: Trial) -> None:
    environment.run_ceilings(SETTING, trial.table)
    names = [row["what"] for row in trial.rows]
    assert "host time of a replay" in names
    assert names[-1] == "wait for an event behind one kernel"


def test_frames(trial: Trial) -> None:
    qwen_frames.run_frames(SETTING, trial.table)
    for name in ("plain", "fused", "fused, attention as matmul"):
        modes = [row["mode"] for row in trial.rows if row["form"] == name]
        assert modes == ["eager", "graph"] * 2
    graph = next(row for row in trial.rows if row["mode"] == "graph")
    assert {"in_a_row_ms", "floor_share", "kernels", "graph_nodes", "host_ms"} <= set(graph)
    # The CPU has no such kernel: a form that is refused costs its own row.
    refused = [row for row in trial.rows if row["form"] == "fused, attention of cuDNN"]
    assert len(refused) == 2
    assert all("refused" in row["note"] for row in refused)
    assert all(graph.replays > 40 for graph in trial.graphs.made)


@pytest.mark.parametrize("run", [qwen_frames.run_compiled, qwen_frames.run_vocoder, qwen_frames.run_prefill])
def test_the_rest_of_the_frames(trial: Trial, run: Any) -> None:
    run(SETTING, trial.table)
    assert {row["mode"] for row in trial.rows} == {"eager", "graph"}
    assert all(row["ms"] > 0 for row in trial.rows)
    assert all("in_a_row_ms" in row for row in trial.rows if row["mode"] == "graph")


def test_verification(trial: Trial) -> None:
    verification.run_verification(SETTING, trial.table)
    assert [row["S"] for row in trial.rows] == [*range(1, 9)] * 2
    assert len(trial.graphs.made) == 2 * (8 + 4)


def test_onnx_loads(trial: Trial) -> None:
    ort_load.run_load(SETTING, trial.table)
    measured = [row for row in trial.rows if "note" not in row]
    assert {row["type"] for row in measured} == {"float16"}  # the CPU provider has no bfloat16 products
    assert len(measured) == 6


def test_onnx_attention(trial: Trial) -> None:
    ort_attention.run_attention(SETTING, trial.table)
    measured = [row for row in trial.rows if "note" not in row]
    assert measured
    assert all(row["longest_kernel"] == "the profiler saw none" for row in measured)


@pytest.mark.parametrize(
    ("run", "ways"),
    [(ort_buckets.run_causal_buckets, 3), (ort_buckets.run_mask_buckets, 2), (ort_buckets.run_group_buckets, 2)],
)
def test_onnx_buckets_take_float16_where_bfloat16_is_refused(trial: Trial, run: Any, ways: int) -> None:
    run(SETTING, trial.table)
    measured = [row for row in trial.rows if row["type"] == "float16"]
    assert len({(row["operators"], row["stream"]) for row in measured}) == ways
    for row in measured:
        assert row["error"] < 0.02
        assert row["error_after_move"] < 0.02
        assert row["host_us"] > 0
        assert row["graph_ms"] > 0
        assert row.get("torch_follows", True)


def test_a_broken_capture_keeps_what_was_found_and_ends_the_step(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ort_session.Bound.run

    def run(bound: Any, options: Any = None) -> None:
        if options.get_run_config_entry("gpu_graph_id") != "-1":
            raise RuntimeError("operation not permitted when stream is capturing")
        real(bound, options)

    monkeypatch.setattr(ort_session.Bound, "run", run)
    ort_buckets.run_mask_buckets(SETTING, trial.table)
    last = trial.rows[-1]
    assert last["eager_ms"] > 0
    assert "stream is capturing" in last["note"]
    assert "capture broke" in trial.notes[-1]


def test_a_session_that_refuses_capture_runs_without(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = ort_buckets.open_session

    def refuse(model: Any, setting: Any, is_captured: bool = False, stream: int | None = None) -> Any:
        if is_captured:
            raise RuntimeError("not all nodes are on the provider")
        return opened(model, setting)

    monkeypatch.setattr(ort_buckets, "open_session", refuse)
    ort_buckets.run_group_buckets(SETTING, trial.table)
    assert any("not all nodes" in row.get("note", "") for row in trial.rows)
    measured = [row for row in trial.rows if "eager_ms" in row]
    assert measured
    assert all("graph_ms" not in row and row["error_after_move"] < 0.02 for row in measured)
